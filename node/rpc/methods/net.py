"""`net_*` beyond what wallets ask, and `admin_*`: peers, alarms, stopping.

What lives here: what an operator asks of a running node. What must never live here: anything that
changes the chain. `admin_*` methods are served on a port of their own, to who has the token.
"""

import hmac
from collections.abc import Callable
from typing import Final

from msgspec import Raw, Struct

from node.app import Node
from node.rpc.client import Client
from node.rpc.dispatch import Method, RpcError
from node.rpc.params import by_name

BAD_TOKEN: Final = 7387


class WithToken(Struct, forbid_unknown_fields=True):
    token: str = ""


def net_methods(node: Node) -> dict[str, Method]:
    def peers(params: Raw, client: Client) -> object:
        """The connected peers, their heads and scores."""
        if node.network is None:
            return []
        return [
            {
                "peer": facts.peer,
                "address": facts.address,
                "outbound": facts.outbound,
                "ready": facts.ready,
                "height": facts.head.height if facts.head else None,
                "certified": facts.head.certified_height if facts.head else None,
                "rtt_ms": facts.rtt_ms,
                "score": facts.score,
                "connected_s": facts.connected_s,
            }
            for facts in node.network.peers()
        ]

    return {"net_peers": peers}


def admin_methods(node: Node, token: str, stop: Callable[[], None]) -> dict[str, Method]:
    """Every method takes `{"token": ...}`. Raises 7387 for another one."""

    def checked(function: Callable[[], object]) -> Method:
        def method(params: Raw, client: Client) -> object:
            given = by_name(params, WithToken).token
            if not _same(given, token):
                raise RpcError(BAD_TOKEN, "the token is wrong; it is in the data directory")
            return function()

        return method

    def alarms() -> object:
        return list(node.chain.alarms)

    def counters() -> object:
        return node.network.counters() if node.network else {}

    def end() -> object:
        stop()
        return True

    return {
        "admin_alarms": checked(alarms),
        "admin_counters": checked(counters),
        "admin_stop": checked(end),
    }


def _same(given: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())
