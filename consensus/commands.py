"""Commands as rows: building them, and cutting a body into groups.

What lives here: the 64-byte rows of operations and group headers, as in docs/protocol/commands.md,
and a group as a value. What must never live here: whether a command is allowed (the core says so),
its words for a person (`wording`), who may sign it (`authority`).

Theory. A row is eight signed words, little-endian, so that the core reads it where it lies. Word 0
packs what is small: operation, side, terms, market. A builder writes what it is given and checks
nothing: a wrong row must be buildable, because the refusal of it is a rule.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from consensus.block import ROW_BYTES, groups
from consensus.layout import (
    ALL_MARKETS,
    KEY_DEPOSIT,
    OP_AMEND,
    OP_CANCEL,
    OP_CANCEL_ALL,
    OP_CANCEL_CLIENT,
    OP_DEADMAN,
    OP_DEPOSIT,
    OP_GRANT,
    OP_PLACE,
    OP_REVOKE,
    OP_SETTINGS,
    OP_TRANSFER,
    OP_WITHDRAW,
)
from consensus.signatures import address_from_words, address_words

ROW: Final = Struct("<8q")
SIDE_SHIFT: Final = 8
TIF_SHIFT: Final = 12
TYPE_SHIFT: Final = 16
POST_SHIFT: Final = 20
STP_SHIFT: Final = 24
FLAGS_SHIFT: Final = 28
MARKET_SHIFT: Final = 32
COUNT_SHIFT: Final = 8
KEY_SHIFT: Final = 16


class Group(NamedTuple):
    """A header row and its operations, cut out of a body. Words as they stand, nothing checked."""

    key: int
    account: int
    nonce: int
    expires: int
    signer: tuple[int, int, int]
    operations: bytes

    @property
    def rows(self) -> bytes:
        """The group's bytes, header row first; the count is that of `operations`."""
        word = len(self.operations) // ROW_BYTES << COUNT_SHIFT | self.key << KEY_SHIFT
        head = ROW.pack(word, self.account, self.nonce, self.expires, *self.signer, 0)
        return head + self.operations

    @property
    def size(self) -> int:
        """Its operations."""
        return len(self.operations) // ROW_BYTES

    def owner(self) -> bytes:
        """The signer's 20 bytes, or `InvalidSignature` `ADDRESS_WORD_RANGE`."""
        return address_from_words(*self.signer)


def read_groups(rows: bytes) -> Iterator[Group]:
    """The groups of a body's rows in order, or `InvalidBlock` `BODY_SHAPE`."""
    for row, count, key in groups(rows):
        at = row * ROW_BYTES
        _, account, nonce, expires, s0, s1, s2, _ = ROW.unpack_from(rows, at)
        operations = rows[at + ROW_BYTES : at + (1 + count) * ROW_BYTES]
        yield Group(key, account, nonce, expires, (s0, s1, s2), operations)


def operation(op: int, *words: int, market: int = 0, bits: int = 0) -> bytes:
    """A row: operation code, market, further bits of word 0, then words 1 .. 7 (the rest zero)."""
    return ROW.pack(op | bits | market << MARKET_SHIFT, *words, *[0] * (7 - len(words)))


def place(
    market: int,
    side: int,
    client: int,
    price: int,
    lots: int,
    *,
    tif: int = 0,
    kind: int = 0,
    post: int = 0,
    stp: int = 0,
    reduce_only: bool = False,
    display: int = 0,
    minimum: int = 0,
    expires: int = 0,
) -> bytes:
    """An order; `kind` is the type, `lots` a budget in quote atoms where the type is 2."""
    bits = side << SIDE_SHIFT | tif << TIF_SHIFT | kind << TYPE_SHIFT | post << POST_SHIFT
    bits |= stp << STP_SHIFT | int(reduce_only) << FLAGS_SHIFT | market << MARKET_SHIFT
    return ROW.pack(OP_PLACE | bits, client, price, lots, display, minimum, expires, 0)


def amend(market: int, handle: int, price: int, total: int) -> bytes:
    return operation(OP_AMEND, handle, price, total, market=market)


def amend_client(client: int, price: int, total: int) -> bytes:
    return operation(OP_AMEND, client, price, total, bits=1 << FLAGS_SHIFT)


def cancel(market: int, handle: int) -> bytes:
    return operation(OP_CANCEL, handle, market=market)


def cancel_client(client: int) -> bytes:
    return operation(OP_CANCEL_CLIENT, client)


def cancel_all(market: int = ALL_MARKETS, first_slot: int = 0) -> bytes:
    return operation(OP_CANCEL_ALL, first_slot, market=market)


def transfer(receiver: int, amount: int, asset: int) -> bytes:
    return operation(OP_TRANSFER, receiver, amount, asset)


def withdraw(asset: int, amount: int, to: bytes) -> bytes:
    return operation(OP_WITHDRAW, asset, amount, *address_words(to))


def grant(
    slot: int,
    address: bytes,
    *,
    expires: int,
    cap: int,
    markets: int,
    quote: int,
    reduce_only: bool = False,
) -> bytes:
    """A session key for `slot` 1..4; `markets` is a bitmap, `cap` quote atoms a day."""
    bits = slot | int(reduce_only) << 8 | quote << 16
    return operation(OP_GRANT, *address_words(address), expires, cap, markets, bits)


def revoke(slot: int) -> bytes:
    return operation(OP_REVOKE, slot)


def deadman(due: int) -> bytes:
    return operation(OP_DEADMAN, due)


def settings(stp: int) -> bytes:
    return operation(OP_SETTINGS, stp)


def deposit_group(hint: int, index: int, owner: bytes, asset: int, amount: int) -> Group:
    """What a deposit with this place in the L1 queue becomes; `hint` is the low neighbour."""
    signer = address_words(owner)
    row = operation(OP_DEPOSIT, *signer, asset, amount)
    return Group(KEY_DEPOSIT, hint, index, 0, signer, row)
