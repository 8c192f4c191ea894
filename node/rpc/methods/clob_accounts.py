"""`clob_order`, `clob_openOrders`, `clob_fills`, `clob_account`: orders and money.

What lives here: records of the state as JSON. What must never live here: what is not on the disk;
every reading of the state goes through `settled`.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Raw, Struct

from consensus import layout
from consensus.matching.operations import market_at
from consensus.signatures import address_from_words
from consensus.wording import Names
from node.app import Node
from node.feeds.feeds import Feeds
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Method, RpcError
from node.rpc.methods.directory import Directory
from node.rpc.methods.settled import settled
from node.rpc.operations import MarketName, Whole, whole
from node.rpc.params import by_name

FILLS_MAX: Final = 1000


class OfAccount(Struct, forbid_unknown_fields=True):
    account: int | str
    market: MarketName | None = None
    limit: int = 100


class OneOrder(Struct, forbid_unknown_fields=True):
    """By `market` and `handle`, or by `account` and `client`."""

    market: MarketName | None = None
    handle: Whole | None = None
    account: int | str | None = None
    client: Whole | None = None


class AccountMethods:
    """The methods, on one node and its feeds."""

    def __init__(self, node: Node, feeds: Feeds, directory: Directory) -> None:
        self._node = node
        self._feeds = feeds
        self._directory = directory

    def order(self, params: Raw, client: Client) -> object:
        """A live order, or null."""
        asked = by_name(params, OneOrder)
        return settled(self._node, lambda: self._order(asked))

    def _order(self, asked: OneOrder) -> dict[str, object] | None:
        M = self._node.chain.state.memory.M
        if asked.client is not None and asked.account is not None:
            account = self._directory.account(asked.account)
            slot = whole(asked.client) & (M[layout.TABLE_SLOTS] - 1)
            found = self._tabled(account, slot)
            return found if found and found["client"] == whole(asked.client) else None
        if asked.market is None or asked.handle is None:
            raise RpcError(INVALID_PARAMS, "give market and handle, or account and client")
        k = market_at(M, self._directory.market(asked.market))
        handle = whole(asked.handle)
        slot = handle & layout.HANDLE_SLOT_MASK
        if not 0 < slot < M[k + layout.BOOK_POOL_MAX]:
            return None
        found = self._order_json(self._directory.market(asked.market), slot)
        return found if found and found["handle"] == str(handle) else None

    def open_orders(self, params: Raw, client: Client) -> object:
        """The live orders of an account, by table slot."""
        asked = by_name(params, OfAccount)
        return settled(self._node, lambda: self._open_orders(asked))

    def _open_orders(self, asked: OfAccount) -> list[dict[str, object]]:
        account = self._directory.account(asked.account)
        market = None if asked.market is None else self._directory.market(asked.market)
        return [
            order
            for order in self._orders_of(account)
            if market is None or order["market"] == market
        ]

    def _orders_of(self, account: int) -> Iterator[dict[str, object]]:
        for slot in range(self._node.chain.state.memory.M[layout.TABLE_SLOTS]):
            order = self._tabled(account, slot)
            if order is not None:
                yield order

    def _tabled(self, account: int, slot: int) -> dict[str, object] | None:
        M = self._node.chain.state.memory.M
        entry = M[M[layout.AT_TABLES] + slot * M[layout.ACCOUNTS_MAX] + account]
        if entry == 0:
            return None
        market, at = (entry - 1) >> layout.HANDLE_SHIFT, (entry - 1) & layout.HANDLE_SLOT_MASK
        return self._order_json(int(market), int(at))

    def _order_json(self, market: int, slot: int) -> dict[str, object] | None:
        M = self._node.chain.state.memory.M
        k = market_at(M, market)
        at = k + M[k + layout.BOOK_AT_POOL] + slot * layout.ORDER_WORDS
        tag = M[at + layout.ORDER_TAG]
        if not tag & layout.TAG_LIVE:
            return None
        handle = (tag >> layout.TAG_GENERATION_SHIFT) << layout.HANDLE_SHIFT | slot
        visible, hidden = M[at + layout.ORDER_VISIBLE], M[at + layout.ORDER_HIDDEN]
        total, expires = M[at + layout.ORDER_TOTAL], M[at + layout.ORDER_EXPIRES]
        return {
            "market": market,
            "handle": str(handle),
            "account": int(M[at + layout.ORDER_TERMS] & layout.TERMS_ACCOUNT_MASK),
            "side": ("buy", "sell")[tag >> layout.TAG_SIDE_SHIFT & 1],
            "price": int(M[at + layout.ORDER_PRICE]),
            "total": int(total),
            "left": int(visible + hidden),
            "visible": int(visible),
            "filled": int(total - visible - hidden),
            "expires": 0 if expires == layout.TIME_NEVER else int(expires),
            "client": int(M[at + layout.ORDER_CLIENT]),
            "sequence": int(M[at + layout.ORDER_SEQUENCE]),
        }

    def fills(self, params: Raw, client: Client) -> object:
        """The account's last fills that this node has seen since it started, newest last."""
        asked = by_name(params, OfAccount)
        if not 0 < asked.limit <= FILLS_MAX:
            raise RpcError(INVALID_PARAMS, f"limit {asked.limit}: give 1 to {FILLS_MAX}")
        account = self._directory.account(asked.account)
        return list(self._feeds.fills.get(account, ()))[-asked.limit :]

    def account(self, params: Raw, client: Client) -> object:
        """Balances, positions, keys, nonces and rate of an account."""
        asked = by_name(params, OfAccount)
        return settled(self._node, lambda: self._account(asked))

    def _account(self, asked: OfAccount) -> dict[str, object]:
        account = self._directory.account(asked.account)
        M = self._node.chain.state.memory.M
        at = M[layout.AT_ACCOUNTS] + account * 32
        owner = at + layout.ACCOUNT_OWNER
        return {
            "account": account,
            "address": "0x" + address_from_words(int(M[at]), int(M[at + 1]), int(M[at + 2])).hex(),
            "tier": int(M[at + layout.ACCOUNT_TIER]),
            "self_trade": int(M[at + layout.ACCOUNT_STP]),
            "nonce": int(M[owner + layout.KEY_NONCE]),
            "balances": list(self._balances(account)),
            "positions": list(self._positions(account)),
            "keys": list(self._keys(account)),
        }

    def _balances(self, account: int) -> Iterator[dict[str, object]]:
        M = self._node.chain.state.memory.M
        names = Names(M)
        for asset in range(M[layout.ASSETS]):
            at = M[layout.AT_BALANCES] + (account * M[layout.ASSETS_MAX] + asset) * 8
            available, locked = M[at + layout.BALANCE_AVAILABLE], M[at + layout.BALANCE_LOCKED]
            if available or locked:
                yield {"asset": asset, "symbol": names.asset(asset),
                       "available": str(available), "locked": str(locked)}  # fmt: skip

    def _positions(self, account: int) -> Iterator[dict[str, object]]:
        M = self._node.chain.state.memory.M
        for market in range(M[layout.MARKETS]):
            k = market_at(M, market)
            at = k + M[k + layout.BOOK_AT_TRADERS] + account * 8
            words = [int(M[at + word]) for word in range(6)]
            if any(words):
                net, cost, realised, fees, orders, volume = words
                yield {"market": market, "net": str(net), "cost": str(cost),
                       "realised": str(realised), "fees": str(fees), "orders": orders,
                       "volume": str(volume)}  # fmt: skip

    def _keys(self, account: int) -> Iterator[dict[str, object]]:
        M = self._node.chain.state.memory.M
        for slot in range(1, layout.KEYS_PER_ACCOUNT + 1):
            at = M[layout.AT_KEYS] + (account * layout.KEYS_PER_ACCOUNT + slot - 1) * 16
            if M[at + layout.KEY_FLAGS] & layout.KEY_LIVE:
                address = address_from_words(int(M[at]), int(M[at + 1]), int(M[at + 2]))
                yield {"slot": slot, "address": "0x" + address.hex(),
                       "expires": int(M[at + layout.KEY_EXPIRES]),
                       "cap": str(M[at + layout.KEY_CAP]), "used": str(M[at + layout.KEY_USED]),
                       "markets": str(M[at + layout.KEY_MARKETS]),
                       "epoch": int(M[at + layout.KEY_EPOCH]),
                       "nonce": int(M[at + layout.KEY_NONCE])}  # fmt: skip

    def methods(self) -> dict[str, Method]:
        return {
            "clob_order": self.order,
            "clob_openOrders": self.open_orders,
            "clob_fills": self.fills,
            "clob_account": self.account,
        }
