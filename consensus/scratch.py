"""Scratch: tables, event area, dirty marks. The lowest floor of the compiled core.

`touch` is the only way a leaf becomes dirty. Every function of the core that stores into `M` calls
it for the record it stores to (checked by scripts/tidy.py and, by comparing the incremental root
with a rebuilt one, by every test).
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.layout import (
    CTZ_FACTOR,
    EVENT_REFUSED,
    EVENT_WORDS,
    LEAF_SHIFT,
    LEAF_WORDS,
    S_ACCOUNT,
    S_BIT,
    S_CTZ,
    S_DIRTY,
    S_EVENT,
    S_IMAGES,
    S_LIST,
    S_MARKS,
    SEQUENCE,
)


def tables(S: vec[i64]) -> None:
    """Fill the count-trailing-zeros and single-bit tables; the guest runs this too."""
    j: i64 = 0
    bit: i64 = 1
    while j < 63:
        S[S_BIT + j] = bit
        S[S_CTZ + (((bit * CTZ_FACTOR) >> 58) & 63)] = j
        if j < 62:
            bit = bit + bit
        j += 1
    S[S_BIT + 63] = -bit - bit
    S[S_CTZ + 32] = 63  # 2^63 x factor, top six bits


def copy_leaf(M: vec[i64], S: vec[i64], word: i64, at: i64) -> None:
    """S[at:] = the leaf of M at `word`; compiled, one copy of 256 bytes (scripts/core_c.py)."""
    n: i64 = 0
    while n < LEAF_WORDS:
        S[at + n] = M[word + n]
        n += 1


def first_touch(M: vec[i64], S: vec[i64], leaf: i64) -> None:
    """Mark a leaf dirty, list it, and keep it as it was when the block opened: the undo log."""
    n: i64 = S[S_DIRTY]
    copy_leaf(M, S, leaf << LEAF_SHIFT, S[S_IMAGES] + (n << LEAF_SHIFT))
    S[S_MARKS + leaf] = 1
    S[S[S_LIST] + n] = leaf
    S[S_DIRTY] = n + 1


def touch(M: vec[i64], S: vec[i64], at: i64) -> None:
    """Make the leaf of word `at` dirty, before anything in it is stored."""
    if S[S_MARKS + (at >> LEAF_SHIFT)] == 0:
        first_touch(M, S, at >> LEAF_SHIFT)


def undo(M: vec[i64], S: vec[i64]) -> None:
    """Put every dirty leaf back to its image; the marks stay until `forget`."""
    n: i64 = 0
    while n < S[S_DIRTY]:
        at: i64 = S[S_IMAGES] + (n << LEAF_SHIFT)
        word: i64 = S[S[S_LIST] + n] << LEAF_SHIFT
        end: i64 = word + LEAF_WORDS
        while word < end:
            M[word] = S[at]
            at += 1
            word += 1
        n += 1


def forget(S: vec[i64]) -> None:
    """Clear the marks: the block is sealed or undone."""
    n: i64 = 0
    while n < S[S_DIRTY]:
        S[S_MARKS + S[S[S_LIST] + n]] = 0
        n += 1
    S[S_DIRTY] = 0


def lowest_bit(S: vec[i64], x: i64) -> i64:
    """Index of the lowest 1 of x, x != 0."""
    return S[S_CTZ + ((((x & -x) * CTZ_FACTOR) >> 58) & 63)]


def highest_bit(x: i64) -> i64:
    """Index of the highest 1 of x, x != 0."""
    if x < 0:
        return 63
    at: i64 = 0
    if x >> 32 != 0:
        at = 32
        x = x >> 32
    if x >> 16 != 0:
        at += 16
        x = x >> 16
    if x >> 8 != 0:
        at += 8
        x = x >> 8
    if x >> 4 != 0:
        at += 4
        x = x >> 4
    if x >> 2 != 0:
        at += 2
        x = x >> 2
    if x >> 1 != 0:
        at += 1
    return at


def event(
    M: vec[i64], S: vec[i64], head: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64
) -> None:
    """Append one event: word 0, the running SEQUENCE, words 2..7."""
    at: i64 = S[S_EVENT]
    S[at] = head
    S[at + 1] = M[SEQUENCE]
    S[at + 2] = a
    S[at + 3] = b
    S[at + 4] = c
    S[at + 5] = d
    S[at + 6] = e
    S[at + 7] = f
    S[S_EVENT] = at + EVENT_WORDS


def refuse(
    M: vec[i64], S: vec[i64], why: i64, op: i64, a: i64, b: i64, c: i64, d: i64, e: i64
) -> None:
    """Append a refusal: account, then words 1..5 of the row."""
    head: i64 = EVENT_REFUSED | (why << 8) | (op << 20)
    event(M, S, head, S[S_ACCOUNT], a, b, c, d, e)
