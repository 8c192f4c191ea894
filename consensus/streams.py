"""The root of a stream of bytes, and proofs that some of its leaves are under it.

What lives here: the tree over commands, signatures, events, withdrawals and promises. What must
never live here: what the bytes mean, or the tree of the state (its leaves change, these never do).

Theory. A stream is cut into leaves; the tree has four children to a node, like the state tree and
for the same reason: the call costs more than the compression. The root names the stream and its
length, so neither zeros at the end nor another stream can be passed off as it, and the length fixes
the shape of the tree. Digests of one level are kept as one byte string: no object per node, and a
group of four is a slice.

How long a leaf is depends on who reads it. Every node hashes all streams of a block, and a light
client opens a leaf or two for a receipt: 2 KiB, an eighth of the calls that 256 bytes take, and a
receipt of three kilobytes. Withdrawals are opened on L1, and the leaf of a promise is its record:
256 bytes. Measured in docs/decisions/0014-leaves-of-two-kibibytes.md.

One path proves a *range* of leaves. At each level the range is completed to whole groups of four by
the nodes to its left and to its right; those nodes, left before right, level by level from below,
are the path. Nodes beyond the end of the stream are 32 zero bytes, known to both and not sent.
A verifier knows from the length and the range how many nodes the path has, so there is exactly one
path to a range.

      level 1      a  [b ===== c]  d          path = p q r, then a d
      level 0      ..  p### ##qr  ..
"""

from hashlib import sha256
from typing import Final, TypeAlias

from consensus.exceptions import CoreFault, InvalidProof

Bytes: TypeAlias = bytes | bytearray | memoryview

LEAF_BYTES: Final = 256
BLOCK_LEAF_BYTES: Final = 2048
BLOCK_STREAMS: Final = ("commands", "signatures", "events")
"""Domains with leaves of `BLOCK_LEAF_BYTES`; all others have `LEAF_BYTES`."""
DIGEST_BYTES: Final = 32
GROUP_BYTES: Final = 4 * DIGEST_BYTES
DOMAIN_BYTES: Final = 16
LOCKED_BYTES_MAX: Final = 2047
"""For more at once hashlib gives the interpreter lock away (CPython's HASHLIB_GIL_MINSIZE is 2048),
and would wait for it at every leaf while another thread is busy. No rule: it changes the time only.
"""

LEAF_TAG: Final = b"\x00"
NODE_TAG: Final = b"\x01"
STREAM_TAG: Final = b"\x03"

RANGE_OUTSIDE: Final = 5400
LEAVES_LENGTH: Final = 5401
PATH_LENGTH: Final = 5402
WRONG_STREAM_ROOT: Final = 5403
DOMAIN_LENGTH: Final = 9110


def bytes_root(domain: str, data: Bytes) -> bytes:
    """The root of the stream `data`: 32 bytes. `domain` is ASCII, at most 16 characters."""
    level = _leaf_digests(data, leaf_bytes_of(domain))
    while len(level) > DIGEST_BYTES:
        level = _parents(level)
    return _stream_root(domain, len(data), level)


def leaf_bytes_of(domain: str) -> int:
    """How long a leaf of this stream is."""
    return BLOCK_LEAF_BYTES if domain in BLOCK_STREAMS else LEAF_BYTES


def bytes_proof(data: Bytes, first: int, count: int = 1, leaf_bytes: int = LEAF_BYTES) -> bytes:
    """The path of `count` leaves of `data` from leaf `first`: whole digests, 32 bytes each.

    It holds under the root of `data` in any domain whose leaves have `leaf_bytes`. Raises
    `InvalidProof` `RANGE_OUTSIDE`.
    """
    width = _leaf_count(len(data), leaf_bytes)
    last = _check_range(width, first, count)
    path = []
    level = _leaf_digests(data, leaf_bytes)
    while width > 1:
        path.append(level[DIGEST_BYTES * (first & ~3) : DIGEST_BYTES * first])
        path.append(level[DIGEST_BYTES * (last + 1) : DIGEST_BYTES * ((last | 3) + 1)])
        level = _parents(level)
        first, last, width = first >> 2, last >> 2, (width + 3) >> 2
    return b"".join(path)


def bytes_paths(data: Bytes) -> list[bytes]:
    """`bytes_proof` of every leaf of 256 bytes alone, in order; the tree is built once."""
    levels = [_leaf_digests(data, LEAF_BYTES)]
    while len(levels[-1]) > DIGEST_BYTES:
        levels.append(_parents(levels[-1]))
    return [_leaf_path(levels, leaf) for leaf in range(_leaf_count(len(data), LEAF_BYTES))]


def _leaf_path(levels: list[bytes], at: int) -> bytes:
    path = []
    for level in levels[:-1]:
        first = DIGEST_BYTES * (at & ~3)
        mine = DIGEST_BYTES * at
        path.append(level[first:mine] + level[mine + DIGEST_BYTES : first + GROUP_BYTES])
        at >>= 2
    return b"".join(path)


def verify_bytes_proof(
    root: bytes, domain: str, length: int, first: int, leaves: bytes, path: bytes
) -> None:
    """Check that `leaves` are the leaves from `first` of the stream with this root.

    `length` is that of the whole stream. `leaves` are the stream's own bytes: whole leaves of
    `leaf_bytes_of(domain)`, fewer for the stream's last one. Raises `InvalidProof` 5400 .. 5403.
    """
    leaf_bytes = leaf_bytes_of(domain)
    width = _leaf_count(length, leaf_bytes)
    count = _leaf_count(len(leaves), leaf_bytes)
    last = _check_range(width, first, count)
    if len(leaves) != min(length, (last + 1) * leaf_bytes) - first * leaf_bytes:
        text = f"{len(leaves)} bytes are not whole leaves of a stream of {length}"
        raise InvalidProof(LEAVES_LENGTH, text)
    level = _leaf_digests(leaves, leaf_bytes)
    at = 0
    while width > 1:
        low, high = first & ~3, min(last | 3, width - 1)
        left, right = at + DIGEST_BYTES * (first - low), DIGEST_BYTES * (high - last)
        level = _parents(path[at:left] + level + path[left : left + right])
        at = left + right
        first, last, width = first >> 2, last >> 2, (width + 3) >> 2
    if at != len(path):
        text = f"the path has {len(path)} bytes where this range needs {at}"
        raise InvalidProof(PATH_LENGTH, text)
    if _stream_root(domain, length, level) != root:
        raise InvalidProof(WRONG_STREAM_ROOT, f"these leaves are not under this {domain} root")


def _leaf_count(length: int, leaf_bytes: int) -> int:
    return (length + leaf_bytes - 1) // leaf_bytes


def _check_range(width: int, first: int, count: int) -> int:
    """The last leaf of a range that lies within `width` leaves, or `RANGE_OUTSIDE`."""
    if first < 0 or count < 1 or first + count > width:
        text = f"leaves {first} to {first + count - 1} are not all among {width} leaves"
        raise InvalidProof(RANGE_OUTSIDE, text)
    return first + count - 1


def _leaf_digests(data: Bytes, leaf_bytes: int) -> bytes:
    view = memoryview(data)
    whole = len(view) - len(view) % leaf_bytes
    digests = _tagged_digests(LEAF_TAG, view[:whole], leaf_bytes)
    if whole < len(view):
        digests += _tagged_digests(
            LEAF_TAG, bytes(view[whole:]).ljust(leaf_bytes, b"\0"), leaf_bytes
        )
    return digests


def _parents(level: bytes) -> bytes:
    return _tagged_digests(NODE_TAG, level + bytes(-len(level) % GROUP_BYTES), GROUP_BYTES)


def _tagged_digests(tag: bytes, data: Bytes, size: int) -> bytes:
    """SHA-256(tag | part) of each `size` bytes. Copying a begun hash costs less than a new one."""
    begun, digests = sha256(tag).copy, []
    half = size // 2 if size > LOCKED_BYTES_MAX else 0
    for at in range(0, len(data), size):
        part = begun()
        if half:
            part.update(data[at : at + half])
        part.update(data[at + half : at + size])
        digests.append(part.digest())
    return b"".join(digests)


def _stream_root(domain: str, length: int, node: bytes) -> bytes:
    name = domain.encode("ascii").ljust(DOMAIN_BYTES, b"\0")
    if len(name) > DOMAIN_BYTES:
        raise CoreFault(DOMAIN_LENGTH, f"{domain!r} is longer than {DOMAIN_BYTES} characters")
    node = node or bytes(DIGEST_BYTES)
    return sha256(STREAM_TAG + name + length.to_bytes(8, "little") + node).digest()
