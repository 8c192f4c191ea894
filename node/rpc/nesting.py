"""How deep a JSON text is nested, before a parser sees it.

What lives here: one question about bytes. What must never live here: parsing.

Why. The parser recurses in C and stops where the interpreter's recursion limit is. Libraries raise
that limit for the whole process (py-evm and py_ecc do, on import), and then 60 KB of `[` overflow
the stack and end the process. So nobody's text is parsed before its depth is known. Strings are cut
out, brackets are kept, and the innermost pairs are taken away round by round, all of it in C; what
is not empty after as many rounds as are allowed is too deep, or no JSON.
"""

import re
from typing import Final

DEPTH_MAX: Final = 64
CONTAINERS_MAX: Final = 1 << 15
"""Opening brackets in one message, those in strings included: so many rounds over more would hold
up the loop."""

# A string without its end is taken to the end of the text, so that no byte is looked at twice.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")  # one round must not take two levels away
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def is_too_deep(text: bytes) -> bool:
    """Whether JSON is nested deeper than 64, opens more than 32,768 brackets, or has brackets that
    do not match."""
    # What replacing takes away is counted, because counting itself takes three times as long.
    opened = 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b""))
    if not DEPTH_MAX < opened <= CONTAINERS_MAX:
        return opened > DEPTH_MAX
    brackets = _STRINGS.sub(b"", text).translate(_ALIKE, _OTHERS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
