"""The telemetry of one node, put together: loop lag, metrics, health, and a line every ten seconds.

What lives here: which page is where. What must never live here: a measurement.
"""

import logging
from typing import Final

import trio
from msgspec import Raw
from prometheus_client import CollectorRegistry

from node.app import Node
from node.machine import Machine
from node.rpc.client import Client
from node.rpc.dispatch import Method
from node.rpc.http import Pages
from node.rpc.server import RpcServer
from node.telemetry.health import Health
from node.telemetry.loop_lag import LoopLag
from node.telemetry.metrics import NodeCollector, metrics_page, registry_of

LINE_S: Final = 10.0
log: Final = logging.getLogger(__name__)


class Telemetry:
    """Run `run` in a nursery; serve `pages` wherever the operator wants them."""

    def __init__(self, node: Node, machine: Machine) -> None:
        self.servers: Final[dict[str, RpcServer]] = {}
        self._node = node
        self._registry: Final[CollectorRegistry] = registry_of(
            NodeCollector(node, machine, self.servers)
        )
        self.lag: Final = LoopLag(self._registry)
        self.health: Final = Health(node, self.lag)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.lag.run)
            nursery.start_soon(self._tell)

    async def _tell(self) -> None:
        """How it goes, so that a log shows when it stopped going."""
        chain = self._node.chain
        while True:
            before = chain.state.head.sequence
            await trio.sleep(LINE_S)
            facts = {
                "certified": chain.certified,
                "operations": chain.state.head.sequence - before,
                "peers": len(self._node.network.peers()) if self._node.network else 0,
                "loop_lag_p99_ms": round(1000 * self.lag.quantile(0.99), 1),
            }
            log.info("leading" if self._node.leads else "following", extra=facts)

    def pages(self) -> Pages:
        return {
            "/metrics": lambda: metrics_page(self._registry),
            "/health": self.health.health_page,
            "/ready": self.health.ready_page,
        }

    def methods(self) -> dict[str, Method]:
        def health(params: Raw, client: Client) -> object:
            """What `/health` and `/ready` say, and the loop's lag in milliseconds."""
            return {
                "problems": self.health.problems(),
                "unready": self.health.unready(),
                "loop_lag_p99_ms": round(1000 * self.lag.quantile(0.99), 3),
                "loop_lag_max_ms": round(1000 * self.lag.worst, 3),
            }

        return {"net_health": health}
