"""`/metrics`: what a node counts, in Prometheus' text format, names with units.

What lives here: names, help texts and where each value is read. What must never live here: a value
that is kept only for this page, save counts of events, or a label that a stranger chooses.

Values are read when the page is asked for; nothing is updated on the path of an order.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus import layout
from consensus.chain import EVENT_BYTES
from node import __version__
from node.app import Node
from node.machine import Machine
from node.rpc.http import Page
from node.rpc.server import RpcServer
from node.tape import BlockKept, Entry, Happened

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
EVENT_NAMES: Final = {
    getattr(layout, name): name.removeprefix("EVENT_").lower()
    for name in (
        "EVENT_TRADE", "EVENT_TAKEN", "EVENT_RESTED", "EVENT_CANCELED", "EVENT_REDUCED",
        "EVENT_REFUSED", "EVENT_MASS", "EVENT_TRANSFERRED", "EVENT_WITHDRAWN", "EVENT_DEPOSITED",
        "EVENT_GRANTED", "EVENT_REVOKED", "EVENT_SCHEDULED", "EVENT_SET",
    )
}  # fmt: skip


class NodeCollector(Collector):
    """Reads one node at each scrape."""

    def __init__(self, node: Node, machine: Machine, servers: dict[str, RpcServer]) -> None:
        self._node = node
        self._machine = machine
        self._servers = servers
        self._events: Counter[int] = Counter()
        self._blocks = 0
        node.tape.read_with(self._read)

    def _read(self, entry: Entry) -> None:
        if isinstance(entry, Happened):
            self._events.update(entry.events[::EVENT_BYTES])
        elif isinstance(entry, BlockKept):
            self._blocks += 1

    def collect(self) -> Iterator[Metric]:
        yield from self._chain()
        yield from self._l1()
        yield from self._settling()
        yield from self._network()
        yield from self._rpc()

    def _chain(self) -> Iterator[Metric]:
        node, chain = self._node, self._node.chain
        head = chain.state.head
        role = "leader" if node.leads else "follower"
        facts = {"version": __version__, "role": role, "chain_id": str(chain.genesis.chain_id)}
        yield InfoMetricFamily("rialto_node", "What this node is", facts)
        breaches = len(node.follower.breaches) if node.follower else 0
        for name, text, value in (
            ("head_height_blocks", "Height of the head", head.height),
            ("certified_height_blocks", "Highest certified height", chain.certified),
            ("uncertified_blocks", "Blocks above it", head.height - chain.certified),
            ("head_age_seconds", "Since the head's time", self._age_s()),
            ("state_bytes", "Of the state's memory", 8 * int(chain.state.memory.M[layout.END])),
            ("snapshot_height_blocks", "Newest snapshot", node.snapshot_keeper.newest),
            ("lowest_block_height_blocks", "Kept", chain.blocks.foundation().height + 1),
            ("standing_alarms", "What a person must see", len(chain.alarms)),
            ("breaches", "Sealed blocks that broke a rule", breaches),
        ):
            yield GaugeMetricFamily(f"rialto_{name}", text, value)
        yield CounterMetricFamily("rialto_operations", "Executed ever", head.sequence)
        yield CounterMetricFamily("rialto_blocks_kept", "Since the start", self._blocks)
        events = CounterMetricFamily("rialto_events", "Since the start", labels=["kind"])
        for number, name in EVENT_NAMES.items():
            events.add_metric([name], self._events[number])
        yield events

    def _l1(self) -> Iterator[Metric]:
        bridge = self._node.bridge
        if bridge is None:
            return
        facts, watcher = bridge.facts, bridge.watcher
        stages = GaugeMetricFamily(
            "rialto_stage_height_blocks", "Highest block of a stage", labels=["stage"]
        )
        for stage, height in self._node.stages.heights._asdict().items():
            stages.add_metric([stage], height)
        yield stages
        for name, text, value in (
            ("l1_head_blocks", "Newest L1 block followed", facts.head and facts.head.number),
            ("l1_safe_blocks", "L1's safe block", facts.safe),
            ("l1_final_blocks", "Newest final L1 block whose facts are kept",
             facts.finalized and facts.finalized.number),
            ("l1_queue_items", "Of the contract's queue", facts.latest.items),
            ("l1_queue_consumed", "By the head", self._node.chain.state.head.l1_messages),
            ("l1_batches_committed", "By the contract", facts.latest.committed),
            ("l1_batches_final", "Finalized by the contract", facts.latest.finalized),
            ("l1_silent_seconds", "Since a look at the L1 succeeded", watcher.silent_s()),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"rialto_{name}", text, value or 0)
        yield CounterMetricFamily(
            "rialto_l1_reorganisations", "Since the start", watcher.reorganisations
        )
        yield CounterMetricFamily(
            "rialto_l1_dropped_blocks", "By them, since the start", watcher.dropped_blocks
        )

    def _settling(self) -> Iterator[Metric]:
        settling = self._node.settling
        if settling is None:
            return
        if settling.attester is not None:
            signed = settling.attester.signed
            yield CounterMetricFamily("rialto_batches_attested", "Since the start", signed)
        committer = settling.committer
        if committer is None:
            return
        backlog, market = committer.backlog, committer.market
        for name, text, value in (
            ("backlog_blocks", "Sealed, not in the contract", backlog.next - 1 - backlog.posted),
            ("backlog_bytes", "Estimate of their payload", backlog.bytes),
            ("backlog_is_over", "1: cancels and withdrawals only", backlog.is_over),
            ("committer_halted", "1: a person is needed", bool(committer.halted)),
            ("outbox_intents", "Of transactions not in final blocks", len(committer.lane.intents)),
            ("l1_base_fee_wei", "When last offered for", market and market.base_fee),
            ("l1_blob_fee_wei", "When last offered for", market and market.blob_fee),
            ("committer_over_caps", "1: it waits for lower fees", committer.is_over_caps),
            ("l1_blob_breaks_even_bytes", "From which on calldata is dearer",
             market and market.breaks_even_bytes),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"rialto_{name}", text, value or 0)
        counts = CounterMetricFamily("rialto_committer_transactions", "By what", labels=["what"])
        for what, count in committer.counts.items():
            counts.add_metric([what], count)
        yield counts

    def _age_s(self) -> float:
        return (self._machine.now_ms() - self._node.chain.state.head.time) / 1000

    def _network(self) -> Iterator[Metric]:
        network = self._node.network
        if network is None:
            return
        peers = network.peers()
        ready = sum(facts.ready for facts in peers)
        known = GaugeMetricFamily("rialto_peers", "Connected peers", labels=["ready"])
        known.add_metric(["yes"], ready)
        known.add_metric(["no"], len(peers) - ready)
        yield known
        best = max((facts.head.height for facts in peers if facts.head), default=0)
        yield GaugeMetricFamily("rialto_best_peer_height_blocks", "As told by peers", best)
        counts = CounterMetricFamily("rialto_network_events", "By name", labels=["event"])
        for name, value in sorted(network.counters().items()):
            counts.add_metric([name], value)
        yield counts

    def _rpc(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily("rialto_rpc_connections", "Open", labels=["port"])
        refused = CounterMetricFamily("rialto_rpc_refused", "Connections", labels=["port"])
        dropped = CounterMetricFamily("rialto_rpc_dropped", "Slow readers", labels=["port"])
        for name, server in self._servers.items():
            connected.add_metric([name], server.connections)
            refused.add_metric([name], server.refused)
            dropped.add_metric([name], server.dropped)
        yield from (connected, refused, dropped)


def metrics_page(registry: CollectorRegistry) -> Page:
    return Page(CONTENT_TYPE, generate_latest(registry))


def registry_of(collector: Collector) -> CollectorRegistry:
    """The node's and the process's metrics."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry
