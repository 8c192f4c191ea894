"""What the packed messages share: exact lengths.

What lives here: one check. What must never live here: a format; each has its own file.
"""

import struct
from typing import Any, Final

from ..exceptions import PeerFault

PACKED_LENGTH: Final = 7613
PACKED_VALUE: Final = 7614
PACKED_VERSION: Final = 7615


class Malformed(PeerFault):
    """A packed message that is not the one encoding of a value."""


def unpack(form: struct.Struct, data: bytes, what: str) -> tuple[Any, ...]:
    """All of `data` as one record. Errors: 7613."""
    if len(data) != form.size:
        text = f"{what} has {len(data)} bytes: it takes {form.size}"
        raise Malformed(PACKED_LENGTH, text, length=len(data), wanted=form.size)
    return form.unpack(data)


def require(holds: bool, text: str, **facts: object) -> None:
    """Errors: 7614."""
    if not holds:
        raise Malformed(PACKED_VALUE, text, **facts)
