"""Strict RLP: the one byte form of headers and envelopes.

What lives here: byte strings and lists, and the typed readers that turn them into values. What must
never live here: what a field means. Formats (header, receipt, batch, ...) are defined by their own
modules with these functions; packed 64-byte command rows travel inside one byte string.

Theory. RLP (Ethereum Yellow Paper, appendix B) has one canonical form for each item, and hashes are
taken over bytes, so accepting a second form would give one header two hashes. The decoder therefore
accepts exactly the image of the encoder:

    decode(encode(x)) == x        and        decode(b) succeeds  =>  encode(decode(b)) == b

    first byte   item
    00 .. 7f     the byte itself, a string of one byte
    80 .. b7     string of 0 .. 55 bytes
    b8 .. bf     string; then 1 .. 8 bytes of big-endian length, >= 56, no leading zero
    c0 .. f7     list with 0 .. 55 bytes of payload
    f8 .. ff     list; then 1 .. 8 bytes of big-endian payload length, >= 56, no leading zero

Unsigned integers are strings: big-endian, no leading zero, zero is the empty string. Whether a
string is an integer is known only to the reader, so that check sits in `read_uint`.

Work is bounded before it is done: bytes by the caller's limit, objects by a count, nesting by
`DEPTH_MAX`. The decoder keeps its own stack, so hostile nesting cannot exhaust Python's.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from consensus.exceptions import InvalidEncoding

Item: TypeAlias = "bytes | list[Item]"
Encodable: TypeAlias = "bytes | int | Sequence[Encodable]"

TRUNCATED: Final = 1001
TRAILING_BYTES: Final = 1002
NON_MINIMAL_LENGTH: Final = 1003
WRAPPED_BYTE: Final = 1004
INPUT_TOO_LONG: Final = 1005
TOO_MANY_ITEMS: Final = 1006
TOO_DEEP: Final = 1007
NOT_A_STRING: Final = 1008
NOT_A_LIST: Final = 1009
LEADING_ZERO: Final = 1010
UINT_RANGE: Final = 1011
WRONG_LENGTH: Final = 1012
WRONG_FIELD_COUNT: Final = 1013
STRING_TOO_LONG: Final = 1014
LIST_TOO_LONG: Final = 1015
NOT_ENCODABLE: Final = 1016

DEPTH_MAX: Final = 8
"""Lists inside lists, the outermost included. Our deepest format needs four."""

ITEMS_MAX: Final = 65_536
"""Default bound on items of all depths; about 5 MB of Python objects at worst."""

UINT_BITS_MAX: Final = 256
"""The widest integer of the EVM."""

STRING: Final = 0x80
LIST: Final = 0xC0
SHORT_MAX: Final = 55
"""Payload bytes whose length still fits into the first byte."""
SHORT_STRINGS: Final = [bytes((STRING + length,)) for length in range(SHORT_MAX + 1)]
"""The first bytes of short strings: most of what is encoded."""


def encode(item: Encodable) -> bytes:
    """Return the RLP of `item`: bytes, an unsigned integer < 2^256, or a sequence of items.

    Raises `InvalidEncoding` `NOT_ENCODABLE`, `UINT_RANGE` or `TOO_DEEP`.
    """
    return _encode(item, 0)


def _encode(item: Encodable, depth: int) -> bytes:
    if isinstance(item, bytes):
        length = len(item)
        if length > SHORT_MAX:
            return _length_prefix(STRING, length) + item
        return item if length == 1 and item[0] < STRING else SHORT_STRINGS[length] + item
    if isinstance(item, (list, tuple)):
        if depth == DEPTH_MAX:
            raise _too_deep()
        payload = b"".join([_encode(child, depth + 1) for child in item])
        return _length_prefix(LIST, len(payload)) + payload
    if isinstance(item, int) and not isinstance(item, bool):
        return _encode(_uint_string(item), depth)
    raise InvalidEncoding(
        NOT_ENCODABLE,
        f"a {type(item).__name__} has no RLP form here; give bytes, an unsigned int, or a list",
        type=type(item).__name__,
    )


def _uint_string(value: int) -> bytes:
    if value < 0 or value.bit_length() > UINT_BITS_MAX:
        raise InvalidEncoding(
            UINT_RANGE,
            f"an integer must be at least 0 and below 2^{UINT_BITS_MAX}",
            bits=UINT_BITS_MAX,
        )
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _length_prefix(kind: int, length: int) -> bytes:
    if length <= SHORT_MAX:
        return bytes((kind + length,))
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((kind + SHORT_MAX + len(digits),)) + digits


def decode(data: bytes, *, limit_bytes: int, limit_items: int = ITEMS_MAX) -> Item:
    """Return the item that `data` is the canonical RLP of: bytes, or lists of items.

    `limit_bytes` bounds the input, `limit_items` the items of all depths together. Raises
    `InvalidEncoding` 1001 .. 1007; the fact `at` is the offset of the item at fault.
    """
    if len(data) > limit_bytes:
        raise InvalidEncoding(
            INPUT_TOO_LONG,
            f"{len(data)} bytes where at most {limit_bytes} are allowed",
            length=len(data),
            limit=limit_bytes,
        )
    _, _, stop = _extent(data, 0, len(data))
    if stop < len(data):
        raise InvalidEncoding(
            TRAILING_BYTES,
            f"{len(data) - stop} bytes follow the item; send the item alone",
            at=stop,
        )
    root: list[Item] = []
    open_lists = [(root, len(data))]
    at = 0
    count = 0
    while open_lists:
        children, end = open_lists[-1]
        if at == end:
            open_lists.pop()
            continue
        is_list, start, stop = _extent(data, at, end)
        count += 1
        if count > limit_items:
            raise InvalidEncoding(
                TOO_MANY_ITEMS, f"more than {limit_items} items", at=at, limit=limit_items
            )
        if not is_list:
            children.append(data[start:stop])
            at = stop
            continue
        if len(open_lists) > DEPTH_MAX:
            raise _too_deep(at)
        child: list[Item] = []
        children.append(child)
        open_lists.append((child, stop))
        at = start
    return root[0]


def _extent(data: bytes, at: int, end: int) -> tuple[bool, int, int]:
    """Return (is a list, payload start, payload end) of the item at `at`, which ends by `end`."""
    if at >= end:
        raise _truncated(at)
    first = data[at]
    if first < STRING:
        return False, at, at + 1
    is_list = first >= LIST
    length = first - (LIST if is_list else STRING)
    start = at + 1
    if length > SHORT_MAX:
        digits = length - SHORT_MAX
        start += digits
        if start > end:
            raise _truncated(at)
        length = int.from_bytes(data[at + 1 : start], "big")
        if length <= SHORT_MAX or data[at + 1] == 0:
            raise InvalidEncoding(
                NON_MINIMAL_LENGTH,
                f"the length {length} at offset {at} is not in its shortest form",
                at=at,
            )
    stop = start + length
    if stop > end:
        raise _truncated(at)
    if first == STRING + 1 and data[start] < STRING:
        raise InvalidEncoding(
            WRAPPED_BYTE,
            f"the byte at offset {start} is below 0x80 and must stand without a prefix",
            at=at,
        )
    return is_list, start, stop


def _truncated(at: int) -> InvalidEncoding:
    return InvalidEncoding(
        TRUNCATED,
        f"the item at offset {at} runs past the end of the input or of its list",
        at=at,
    )


def _too_deep(at: int = 0) -> InvalidEncoding:
    return InvalidEncoding(TOO_DEEP, f"lists are nested more than {DEPTH_MAX} deep", at=at)


def read_string(item: Item, bytes_max: int) -> bytes:
    """Return a byte string of at most `bytes_max` bytes, or raise 1008 or 1014."""
    if not isinstance(item, bytes):
        raise InvalidEncoding(NOT_A_STRING, "a list stands where a byte string belongs")
    if len(item) > bytes_max:
        raise InvalidEncoding(
            STRING_TOO_LONG,
            f"a string of {len(item)} bytes where at most {bytes_max} are allowed",
            length=len(item),
            limit=bytes_max,
        )
    return item


def read_bytes(item: Item, length: int) -> bytes:
    """Return a byte string of exactly `length` bytes, or raise 1008 or 1012."""
    if not isinstance(item, bytes):
        raise InvalidEncoding(NOT_A_STRING, "a list stands where a byte string belongs")
    if len(item) != length:
        raise InvalidEncoding(
            WRONG_LENGTH,
            f"a string of {len(item)} bytes where exactly {length} belong",
            length=len(item),
            expected=length,
        )
    return item


def read_uint(item: Item, bits: int) -> int:
    """Return an unsigned integer below 2^`bits`, or raise 1008, 1010 or 1011."""
    if not isinstance(item, bytes):
        raise InvalidEncoding(NOT_A_STRING, "a list stands where an integer belongs")
    if item and item[0] == 0:
        raise InvalidEncoding(
            LEADING_ZERO, "an integer starts with a zero byte; zero itself is the empty string"
        )
    value = int.from_bytes(item, "big")
    if value.bit_length() > bits:
        raise InvalidEncoding(
            UINT_RANGE, f"an integer needs more than the {bits} bits of its field", bits=bits
        )
    return value


def read_record(item: Item, fields: int) -> list[Item]:
    """Return the items of a list that has exactly `fields` of them, or raise 1009 or 1013."""
    if not isinstance(item, list):
        raise InvalidEncoding(NOT_A_LIST, "a byte string stands where a list belongs")
    if len(item) != fields:
        raise InvalidEncoding(
            WRONG_FIELD_COUNT,
            f"a record with {len(item)} fields where exactly {fields} belong",
            count=len(item),
            expected=fields,
        )
    return item


def read_list(item: Item, items_max: int) -> list[Item]:
    """Return the items of a list of at most `items_max`, or raise 1009 or 1015."""
    if not isinstance(item, list):
        raise InvalidEncoding(NOT_A_LIST, "a byte string stands where a list belongs")
    if len(item) > items_max:
        raise InvalidEncoding(
            LIST_TOO_LONG,
            f"a list of {len(item)} items where at most {items_max} are allowed",
            count=len(item),
            limit=items_max,
        )
    return item
