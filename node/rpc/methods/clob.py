"""`clob_*`: everything about the exchange that a port answers.

What lives here: which modules these methods come from. What must never live here: a method.
"""

from node.app import Node
from node.feeds.feeds import Feeds
from node.rpc.dispatch import Method
from node.rpc.methods.clob_accounts import AccountMethods
from node.rpc.methods.clob_commands import CommandMethods
from node.rpc.methods.clob_markets import MarketMethods
from node.rpc.methods.clob_subscriptions import Subscriptions
from node.rpc.methods.directory import Directory


class Clob:
    """The methods, on one node and its feeds."""

    def __init__(self, node: Node, feeds: Feeds) -> None:
        self._directory = Directory(node.chain.state)
        self._node = node
        self._feeds = feeds

    def methods(self) -> dict[str, Method]:
        node, feeds, directory = self._node, self._feeds, self._directory
        return {
            **CommandMethods(node, directory).methods(),
            **MarketMethods(node, feeds, directory).methods(),
            **AccountMethods(node, feeds, directory).methods(),
            **Subscriptions(feeds, directory).methods(),
        }
