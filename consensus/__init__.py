"""The rules of the exchange: pure functions of bytes and integers.

Here "consensus" means *the rules*, not a voting protocol. Nothing in this package reads a clock,
a socket, a file, the environment or a random number, and nothing in it imports the rest of the
project. The modules named in `core_modules.txt` are also compiled.
"""
