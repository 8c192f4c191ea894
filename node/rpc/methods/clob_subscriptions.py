"""`clob_subscribe`, `clob_unsubscribe`: who listens to which channel.

What lives here: from a request to a channel, and the end of a subscription. What must never live
here: what a channel says, or a socket.
"""

from typing import Final

from msgspec import Raw, Struct

from node.feeds.channel import Channel, notification
from node.feeds.feeds import Feeds
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Method, RpcError
from node.rpc.methods.clob_commands import TOO_MANY
from node.rpc.methods.directory import Directory
from node.rpc.operations import MarketName, Whole, whole
from node.rpc.params import by_name

SUBSCRIPTIONS_MAX: Final = 64
NO_PUSH: Final = 7382
UNKNOWN_CHANNEL: Final = 7383


class Subscribe(Struct, forbid_unknown_fields=True):
    channel: str
    market: MarketName | None = None
    account: int | str | None = None
    resume: Whole | None = None


class Unsubscribe(Struct, forbid_unknown_fields=True):
    subscription: str


class Subscriptions:
    """The methods, on the feeds of one node."""

    def __init__(self, feeds: Feeds, directory: Directory) -> None:
        self._feeds = feeds
        self._directory = directory
        self._made = 0

    def subscribe(self, params: Raw, client: Client) -> object:
        """Follow a channel: book, bbo, trades (market), orders (account), blocks, certificates."""
        asked = by_name(params, Subscribe)
        notify = client.notify
        if notify is None:
            raise RpcError(NO_PUSH, "subscriptions need a WebSocket connection")
        if len(client.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise RpcError(TOO_MANY, f"{SUBSCRIPTIONS_MAX} subscriptions are open already")
        channel = self._channel(asked)
        self._made += 1
        name = f"0x{self._made:x}"
        resume = None if asked.resume is None else whole(asked.resume)
        client.subscriptions[name] = _nothing

        def start() -> None:
            if name not in client.subscriptions:  # ended by the same message
                return
            self._feeds.tick()  # a snapshot shows what is sent by then, and no more
            end = channel.listen(lambda body: notify(notification(name, body)), resume)
            client.subscriptions[name] = end

        client.after_reply.append(start)
        return name

    def _channel(self, asked: Subscribe) -> Channel:
        if asked.channel in ("book", "bbo", "trades"):
            if asked.market is None:
                raise RpcError(INVALID_PARAMS, f"name the market of channel {asked.channel}")
            feed = self._feeds.markets.get(self._directory.market(asked.market))
            if feed is None:
                raise RpcError(INVALID_PARAMS, "the market is being listed; ask again in a moment")
            return {"book": feed.book, "bbo": feed.bbo, "trades": feed.trades}[asked.channel]
        if asked.channel == "orders":
            if asked.account is None:
                raise RpcError(INVALID_PARAMS, "name the account of channel orders")
            channel = self._feeds.account(self._directory.account(asked.account))
            if channel is None:
                raise RpcError(TOO_MANY, "too many accounts are followed on this node")
            return channel
        if asked.channel == "blocks":
            return self._feeds.blocks
        if asked.channel == "certificates":
            return self._feeds.certificates
        text = f"no channel {asked.channel[:32]!r}: book, bbo, trades, orders, blocks, certificates"
        raise RpcError(UNKNOWN_CHANNEL, text)

    def unsubscribe(self, params: Raw, client: Client) -> object:
        """End a subscription; whether there was one."""
        end = client.subscriptions.pop(by_name(params, Unsubscribe).subscription, None)
        if end is not None:
            end()
        return end is not None

    def methods(self) -> dict[str, Method]:
        return {"clob_subscribe": self.subscribe, "clob_unsubscribe": self.unsubscribe}


def _nothing() -> None:
    """What ends a subscription that has not begun."""
