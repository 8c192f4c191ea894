"""What a command line asks for, as rows.

What lives here: one function per action, from its options and what is listed to operations. What
must never live here: signing, a connection, or a default that a person would not expect.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from consensus import commands
from consensus.layout import ALL_MARKETS
from node.client.answers import Market, Order
from node.exceptions import NodeError
from node.rpc.operations import POSTS, SIDES, TIFS, TYPES, decode_operations, rows_of
from node.wallet.amounts import Terms

BAD_REQUEST: Final = 7851
DAY_MS: Final = 86_400_000

Ask = Callable[[Namespace, Terms, list[Order], int], bytes]
"""(options, terms, the account's open orders, the chain's time in ms) -> rows."""


def place(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    """An order; without `--client` it gets the lowest id that no open order has."""
    market = terms.market(asked.market)
    taken = {order.client for order in orders}
    client = asked.client if asked.client is not None else _lowest_free(taken)
    if asked.type == "budget":
        if asked.atoms is None or asked.lots is not None or asked.size is not None:
            raise _bad("a budget order takes --atoms of the quote asset, and no lots")
        lots = asked.atoms
    else:
        lots = _lots(asked, terms, market)
    return commands.place(
        market.market,
        SIDES[asked.side],
        client,
        _ticks(asked, terms, market, needed=asked.type == "limit"),
        lots,
        tif=TIFS[asked.tif],
        kind=TYPES[asked.type],
        post=POSTS[asked.post],
        reduce_only=asked.reduce_only,
        display=asked.display,
        minimum=asked.minimum,
        expires=now_ms + round(asked.live_s * 1000) if asked.live_s else 0,
    )


def cancel(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    """One order, or all."""
    if asked.all:
        if asked.client is not None or asked.handle is not None:
            raise _bad("--all takes --market at most")
        return commands.cancel_all(
            ALL_MARKETS if asked.market is None else terms.market(asked.market).market
        )
    if asked.client is not None and asked.handle is None and asked.market is None:
        return commands.cancel_client(asked.client)
    return commands.cancel(*_which(asked, terms))


def amend(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    """A new price and a new total; both are given, even if one stays."""
    if asked.client is not None and asked.handle is None:
        found = [order for order in orders if order.client == asked.client]
        if not found:
            raise _bad(f"no open order has client id {asked.client}; `rialto wallet orders` lists")
        market = terms.market(str(found[0].market))
        price, total = _ticks(asked, terms, market, needed=True), _lots(asked, terms, market)
        return commands.amend_client(asked.client, price, total)
    number, handle = _which(asked, terms)
    market = terms.market(str(number))
    price, total = _ticks(asked, terms, market, needed=True), _lots(asked, terms, market)
    return commands.amend(number, handle, price, total)


def transfer(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    return commands.transfer(asked.to, atoms_of(asked, terms), terms.asset(asked.asset).asset)


def withdraw(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    number = terms.asset(asked.asset).asset
    return commands.withdraw(number, atoms_of(asked, terms), read_address(asked.to))


def grant(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    """A session key: for some markets, some days, up to some notional a day."""
    markets = 0
    for name in asked.market:
        markets |= 1 << terms.market(name).market
    quote = terms.asset(asked.quote)
    return commands.grant(
        asked.slot,
        read_address(asked.address),
        expires=now_ms + round(asked.days * DAY_MS),
        cap=terms.atoms(quote, asked.cap),
        markets=markets,
        quote=quote.asset,
        reduce_only=asked.reduce_only,
    )


def revoke(asked: Namespace, terms: Terms, orders: list[Order], now_ms: int) -> bytes:
    return commands.revoke(asked.slot)


def from_file(path: Path, markets: Mapping[str, int]) -> bytes:
    """The operations of a JSON file, as `clob_submit` takes them."""
    try:
        operations = decode_operations(path.read_bytes())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(f"{path} is no list of operations: {error}") from error
    if not 0 < len(operations) <= 64:
        raise _bad(f"{path} has {len(operations)} operations: give 1 to 64")
    return rows_of(operations, markets)


def read_address(text: str) -> bytes:
    """0x and 40 digits. Raises `NodeError` 7851."""
    try:
        address = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        address = b""
    if len(address) != 20 or not text.startswith("0x"):
        raise _bad(f"{text[:60]!r} is no address: 0x and 40 hexadecimal digits")
    return address


def _which(asked: Namespace, terms: Terms) -> tuple[int, int]:
    if asked.market is None or asked.handle is None or asked.client is not None:
        raise _bad("name the order: --client N, or --market NAME and --handle N")
    return terms.market(asked.market).market, asked.handle


def _ticks(asked: Namespace, terms: Terms, market: Market, *, needed: bool) -> int:
    """A market order may have a worst price; a limit order has its price."""
    given = (asked.ticks is not None) + (asked.price is not None)
    if given > 1 or (needed and not given):
        raise _bad("give the price once: --price in units, or --ticks")
    if asked.price is not None:
        return terms.ticks(market, asked.price)
    return int(asked.ticks or 0)


def _lots(asked: Namespace, terms: Terms, market: Market) -> int:
    if (asked.lots is None) == (asked.size is None):
        raise _bad("give the quantity once: --size in units, or --lots")
    return int(asked.lots) if asked.size is None else terms.lots(market, asked.size)


def atoms_of(asked: Namespace, terms: Terms) -> int:
    """`--amount` or `--atoms` of `--asset`. Raises `NodeError` 7845, 7846, 7851."""
    if (asked.atoms is None) == (asked.amount is None):
        raise _bad("give the amount once: --amount in units, or --atoms")
    if asked.amount is None:
        return int(asked.atoms)
    return terms.atoms(terms.asset(asked.asset), asked.amount)


def _lowest_free(taken: set[int]) -> int:
    return next(number for number in count() if number not in taken)


def _bad(why: str) -> NodeError:
    return NodeError(BAD_REQUEST, why)


ASKS: Final[dict[str, Ask]] = {
    "place": place,
    "cancel": cancel,
    "amend": amend,
    "transfer": transfer,
    "withdraw": withdraw,
    "grant": grant,
    "revoke": revoke,
}
