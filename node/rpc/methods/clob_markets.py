"""`clob_assets`, `clob_markets`, `clob_book`, `clob_trades`: what everybody may see.

What lives here: terms of markets from the state, books and trades from the feeds. What must never
live here: an order's owner.
"""

from typing import Final

from msgspec import Raw, Struct

from consensus import layout
from consensus.matching.operations import market_at
from consensus.state.book import checksum
from consensus.wording import Names
from node.app import Node
from node.feeds.feeds import CHECKED_LEVELS, TRADES_KEPT, Feeds, MarketFeed, book_json
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Method, RpcError
from node.rpc.methods.directory import Directory
from node.rpc.methods.settled import settled
from node.rpc.operations import MarketName
from node.rpc.params import by_name

DEPTH_MAX: Final = 1000


class OfMarket(Struct, forbid_unknown_fields=True):
    market: MarketName
    depth: int = 20


class MarketMethods:
    """The methods, on one node and its feeds."""

    def __init__(self, node: Node, feeds: Feeds, directory: Directory) -> None:
        self._node = node
        self._feeds = feeds
        self._directory = directory

    def markets(self, params: Raw, client: Client) -> object:
        """Every listed market and its terms."""
        return settled(self._node, self._listed)

    def _listed(self) -> object:
        M = self._node.chain.state.memory.M
        names = Names(M)
        found = []
        for number in range(M[layout.MARKETS]):
            k = market_at(M, number)
            record = M[layout.AT_MARKETS] + (number << 4)
            feed = self._feeds.markets.get(number)
            found.append(
                {
                    "market": number,
                    "name": names.market(number),
                    "base": int(M[k + layout.BOOK_BASE]),
                    "quote": int(M[k + layout.BOOK_QUOTE_ASSET]),
                    "status": "open" if M[record + layout.MARKET_STATUS] == 0 else "halted",
                    "price_max": int(M[k + layout.BOOK_TICKS]) - 2,
                    "lots_max": int(M[k + layout.BOOK_LOTS_MAX]),
                    "base_per_lot": str(M[k + layout.BOOK_BASE_PER_LOT]),
                    "quote_per_tick_lot": str(M[k + layout.BOOK_QUOTE_PER_TICK_LOT]),
                    "minimum_notional": str(M[k + layout.BOOK_MIN_NOTIONAL]),
                    "band_ppm": int(M[k + layout.BOOK_BAND]),
                    "fees": [_fees(int(M[k + layout.BOOK_FEES + tier])) for tier in range(4)],
                    "last": feed.live.last if feed else 0,
                }
            )
        return found

    def assets(self, params: Raw, client: Client) -> object:
        """Every listed asset; `name` is what signed words call it."""
        return settled(self._node, self._assets)

    def _assets(self) -> object:
        M = self._node.chain.state.memory.M
        names = Names(M)
        found = []
        for asset in range(M[layout.ASSETS]):
            at = layout.AT_ASSETS + asset * 16
            symbol = int(M[at + layout.ASSET_SYMBOL]).to_bytes(7, "big").rstrip(b"\0")
            found.append(
                {
                    "asset": asset,
                    "symbol": symbol.decode("ascii", "replace"),
                    "name": names.asset(asset),
                    "decimals": int(M[at + layout.ASSET_DECIMALS]),
                    "withdraw_minimum": str(M[at + layout.ASSET_WITHDRAW_MIN]),
                }
            )
        return found

    def book(self, params: Raw, client: Client) -> object:
        """The best levels of a market, with the sequence that deltas follow."""
        asked = by_name(params, OfMarket)
        feed = self._asked(asked, DEPTH_MAX)
        feed.tick()
        book = feed.live.book(asked.depth)
        return {
            "market": feed.market,
            "sequence": feed.book.sequence,
            "operation": feed.heard,
            **book_json(book),
            "checksum": checksum(feed.live.book(CHECKED_LEVELS)),
            "last": feed.live.last,
        }

    def trades(self, params: Raw, client: Client) -> object:
        """The last trades of a market, newest last."""
        asked = by_name(params, OfMarket)
        return list(self._asked(asked, TRADES_KEPT).recent)[-asked.depth :]

    def _asked(self, asked: OfMarket, most: int) -> MarketFeed:
        if not 0 < asked.depth <= most:
            raise RpcError(INVALID_PARAMS, f"depth {asked.depth}: give 1 to {most}")
        feed = self._feeds.markets.get(self._directory.market(asked.market))
        if feed is None:
            raise RpcError(INVALID_PARAMS, "the market is being listed; ask again in a moment")
        return feed

    def methods(self) -> dict[str, Method]:
        return {
            "clob_assets": self.assets,
            "clob_markets": self.markets,
            "clob_book": self.book,
            "clob_trades": self.trades,
        }


def _fees(word: int) -> dict[str, int]:
    maker = (word & layout.TERMS_MAKER_MASK) - layout.MAKER_BIAS
    return {"taker_ppm": word >> 32, "maker_ppm": maker}
