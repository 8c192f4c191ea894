"""One process: the rules joined to the world (command line, clock, network, files)."""

__version__ = "0.1.0"
