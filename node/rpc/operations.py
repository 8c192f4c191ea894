"""Operations as JSON objects, turned into rows.

What lives here: the shape of each operation, and numbers in it. What must never live here: whether
an operation is allowed: a row that no rule accepts can be asked for, and the core refuses it.

Integers up to 2^53 - 1 may be JSON numbers; any may be a decimal string, and handles, amounts and
caps should be, because a JavaScript reader rounds larger numbers. There are no fractions: prices
are ticks, quantities lots, money atoms. A market is its name or its number.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import error as StructError
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from consensus import commands
from consensus.exceptions import ConsensusError
from consensus.layout import ALL_MARKETS
from node.exceptions import NodeError

BAD_OPERATION: Final = 7370

Packed = TypeVar("Packed")

Whole: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[
    str, Meta(pattern=r"^-?[0-9]{1,19}$")
]
MarketName: TypeAlias = str | int
AddressText: TypeAlias = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}$")]

SIDES: Final = {"buy": 0, "sell": 1}
TIFS: Final = {"gtc": 0, "ioc": 1, "fok": 2}
TYPES: Final = {"limit": 0, "market": 1, "budget": 2}
POSTS: Final = {"no": 0, "reject": 1, "slide": 2}
SELF_TRADE: Final = {
    "default": 0,
    "cancel_maker": 1,
    "cancel_taker": 2,
    "cancel_both": 3,
    "decrement": 4,
}


class Operation(Struct, tag_field="op", forbid_unknown_fields=True):
    """Any operation; `op` names which."""


class Place(Operation, tag="place"):
    market: MarketName
    side: Literal["buy", "sell"]
    lots: Whole
    client: Whole
    price: Whole = 0
    type: Literal["limit", "market", "budget"] = "limit"
    tif: Literal["gtc", "ioc", "fok"] = "gtc"
    post: Literal["no", "reject", "slide"] = "no"
    self_trade: Literal[
        "default", "cancel_maker", "cancel_taker", "cancel_both", "decrement"
    ] = "default"
    reduce_only: bool = False
    display: Whole = 0
    minimum: Whole = 0
    expires: Whole = 0

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.place(
            market_number(markets, self.market),
            SIDES[self.side],
            whole(self.client),
            whole(self.price),
            whole(self.lots),
            tif=TIFS[self.tif],
            kind=TYPES[self.type],
            post=POSTS[self.post],
            stp=SELF_TRADE[self.self_trade],
            reduce_only=self.reduce_only,
            display=whole(self.display),
            minimum=whole(self.minimum),
            expires=whole(self.expires),
        )


class Amend(Operation, tag="amend"):
    """By `handle` and `market`, or by `client`."""

    price: Whole
    total: Whole
    market: MarketName | None = None
    handle: Whole | None = None
    client: Whole | None = None

    def row(self, markets: Mapping[str, int]) -> bytes:
        if self.client is not None and self.handle is None and self.market is None:
            return commands.amend_client(whole(self.client), whole(self.price), whole(self.total))
        if self.handle is None or self.market is None or self.client is not None:
            raise _bad("amend takes market and handle, or client alone")
        number = market_number(markets, self.market)
        return commands.amend(number, whole(self.handle), whole(self.price), whole(self.total))


class Cancel(Operation, tag="cancel"):
    """By `handle` and `market`, or by `client`."""

    market: MarketName | None = None
    handle: Whole | None = None
    client: Whole | None = None

    def row(self, markets: Mapping[str, int]) -> bytes:
        if self.client is not None and self.handle is None and self.market is None:
            return commands.cancel_client(whole(self.client))
        if self.handle is None or self.market is None or self.client is not None:
            raise _bad("cancel takes market and handle, or client alone")
        return commands.cancel(market_number(markets, self.market), whole(self.handle))


class CancelAll(Operation, tag="cancel_all"):
    market: MarketName | None = None
    first_slot: Whole = 0

    def row(self, markets: Mapping[str, int]) -> bytes:
        number = ALL_MARKETS if self.market is None else market_number(markets, self.market)
        return commands.cancel_all(number, whole(self.first_slot))


class Transfer(Operation, tag="transfer"):
    to: Whole
    amount: Whole
    asset: Whole

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.transfer(whole(self.to), whole(self.amount), whole(self.asset))


class Withdraw(Operation, tag="withdraw"):
    asset: Whole
    amount: Whole
    to: AddressText

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.withdraw(whole(self.asset), whole(self.amount), bytes.fromhex(self.to[2:]))


class Grant(Operation, tag="grant"):
    slot: Whole
    key: AddressText
    expires: Whole
    cap: Whole
    markets: Whole
    quote: Whole
    reduce_only: bool = False

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.grant(
            whole(self.slot),
            bytes.fromhex(self.key[2:]),
            expires=whole(self.expires),
            cap=whole(self.cap),
            markets=whole(self.markets),
            quote=whole(self.quote),
            reduce_only=self.reduce_only,
        )


class Revoke(Operation, tag="revoke"):
    slot: Whole

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.revoke(whole(self.slot))


class DeadMan(Operation, tag="dead_man"):
    due: Whole

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.deadman(whole(self.due))


class Settings(Operation, tag="settings"):
    self_trade: Literal["cancel_maker", "cancel_taker", "cancel_both", "decrement"]

    def row(self, markets: Mapping[str, int]) -> bytes:
        return commands.settings(SELF_TRADE[self.self_trade])


AnyOperation: TypeAlias = (
    Place
    | Amend
    | Cancel
    | CancelAll
    | Transfer
    | Withdraw
    | Grant
    | Revoke
    | DeadMan
    | Settings
)


def rows_of(operations: Sequence[AnyOperation], markets: Mapping[str, int]) -> bytes:
    """The rows of these operations, in order. Raises `NodeError` 7370."""
    return b"".join([fitting(operation.row, markets) for operation in operations])


def fitting(pack: Callable[..., Packed], *parts: object) -> Packed:
    """What `pack` makes of the parts. Raises `NodeError` 7370 if a number does not fit its word."""
    try:
        return pack(*parts)
    except (StructError, ConsensusError, ValueError, OverflowError) as error:
        raise _bad(f"a number does not fit its field ({error})") from error


def whole(value: int | str) -> int:
    return value if isinstance(value, int) else int(value)


def market_number(markets: Mapping[str, int], market: MarketName) -> int:
    """The number of a market by name; a number stays as it is."""
    if isinstance(market, int):
        return market
    number = markets.get(market)
    if number is None:
        raise _bad(f"there is no market {market[:32]!r}; clob_markets lists them")
    return number


def _bad(why: str) -> NodeError:
    return NodeError(BAD_OPERATION, why)


decode_operations: Final = msgspec.json.Decoder(list[AnyOperation]).decode
