"""Bitmaps as 64-ary heaps: node 0 on top, children of node i are 64i + 1 ... 64i + 64.

Price bitmaps: a bit above says "some bit below is 1"; the best price and the next one are found by
climbing until a later bit shows and walking down again. Slot and page bitmaps: a bit above says
"all 64 below are 1"; the lowest free item is one walk down. `bits` is the absolute word of node 0,
`leaf` the number of the first last-level node. Both are functions of the records (never truth).
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.layout import S_BIT
from consensus.scratch import highest_bit, lowest_bit, touch


def above(S: vec[i64], x: i64, j: i64) -> i64:
    """The bits of x strictly above bit j."""
    bit: i64 = S[S_BIT + j]
    return x & -bit & ~bit


def set_key(M: vec[i64], S: vec[i64], bits: i64, leaf: i64, key: i64) -> None:
    """Say that `key` has a level."""
    node: i64 = leaf + (key >> 6)
    j: i64 = key & 63
    while True:
        x: i64 = M[bits + node]
        touch(M, S, bits + node)
        M[bits + node] = x | S[S_BIT + j]
        if x != 0 or node == 0:
            return
        j = (node - 1) & 63
        node = (node - 1) >> 6


def clear_key(M: vec[i64], S: vec[i64], bits: i64, leaf: i64, key: i64) -> None:
    """Say that `key` has no level any more."""
    node: i64 = leaf + (key >> 6)
    j: i64 = key & 63
    while True:
        x: i64 = M[bits + node] & ~S[S_BIT + j]
        touch(M, S, bits + node)
        M[bits + node] = x
        if x != 0 or node == 0:
            return
        j = (node - 1) & 63
        node = (node - 1) >> 6


def next_key(M: vec[i64], S: vec[i64], bits: i64, leaf: i64, key: i64, none: i64) -> i64:
    """The lowest key above `key` that has a level, or `none`."""
    node: i64 = leaf + (key >> 6)
    x: i64 = above(S, M[bits + node], key & 63)
    while x == 0:
        if node == 0:
            return none
        j: i64 = (node - 1) & 63
        node = (node - 1) >> 6
        x = above(S, M[bits + node], j)
    while node < leaf:
        node = (node << 6) + 1 + lowest_bit(S, x)
        x = M[bits + node]
    return ((node - leaf) << 6) | lowest_bit(S, x)


def highest_key(M: vec[i64], bits: i64, leaf: i64) -> i64:
    """The highest key that has a level; there is one."""
    node: i64 = 0
    x: i64 = M[bits]
    while node < leaf:
        node = (node << 6) + 1 + highest_bit(x)
        x = M[bits + node]
    return ((node - leaf) << 6) | highest_bit(x)


def take_lowest(M: vec[i64], S: vec[i64], bits: i64, leaf: i64) -> i64:
    """Take the lowest free item; there is one."""
    node: i64 = 0
    while node < leaf:
        node = (node << 6) + 1 + lowest_bit(S, ~M[bits + node])
    j: i64 = lowest_bit(S, ~M[bits + node])
    item: i64 = ((node - leaf) << 6) | j
    while True:
        x: i64 = M[bits + node] | S[S_BIT + j]
        touch(M, S, bits + node)
        M[bits + node] = x
        if x != -1 or node == 0:
            return item
        j = (node - 1) & 63
        node = (node - 1) >> 6


def give_back(M: vec[i64], S: vec[i64], bits: i64, leaf: i64, item: i64) -> None:
    """Free `item`, which was taken."""
    node: i64 = leaf + (item >> 6)
    j: i64 = item & 63
    while True:
        x: i64 = M[bits + node]
        touch(M, S, bits + node)
        M[bits + node] = x & ~S[S_BIT + j]
        if x != -1 or node == 0:
            return
        j = (node - 1) & 63
        node = (node - 1) >> 6
