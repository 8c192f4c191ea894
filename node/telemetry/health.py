"""`/health` and `/ready`: is this node alive, and should anybody be sent to it.

What lives here: what is wrong, in sentences that say what to do. What must never live here: a
remedy: a program that restarts a node because its leader is down makes two problems of one.

`/health` fails (503) when the height stalls, an alarm stands, or the loop is late. `/ready` fails
too while a follower is behind, has no peer, blocks wait for certificates or for this node's L1, or
the L1 is silent. An alarm stands until the node is restarted: somebody has to have read it.
"""

from typing import Final

import msgspec
import trio

from node.app import Node
from node.roles.sequencer import UNCERTIFIED_BLOCKS_MAX
from node.rpc.http import Page
from node.tape import BlockKept, Entry
from node.telemetry.loop_lag import LoopLag

STALL_S: Final = 10.0
"""An idle leader seals a block every 2 s; five of them are missing then."""
LAG_S_MAX: Final = 0.5
BEHIND_BLOCKS_MAX: Final = 8
L1_SILENT_S: Final = 60.0
"""Five L1 blocks: an outage of its server, not a slow answer."""


class Health:
    """Of one node, from now on."""

    def __init__(self, node: Node, lag: LoopLag) -> None:
        self._node = node
        self._lag = lag
        self._moved = trio.current_time()
        node.tape.read_with(self._read)

    def _read(self, entry: Entry) -> None:
        if isinstance(entry, BlockKept):
            self._moved = trio.current_time()

    def problems(self) -> list[str]:
        """Why `/health` fails; [] if it does not."""
        found = []
        still_s = trio.current_time() - self._moved
        chain = self._node.chain
        if still_s > STALL_S:
            text = f"no block for {still_s:.0f} s at height {chain.state.head.height}"
            whose = "this leader's log" if self._node.leads else "the leader, and net_peers"
            found.append(f"{text}: look at {whose}")
        if chain.alarms:
            more = f" (and {len(chain.alarms) - 1} before it)" if len(chain.alarms) > 1 else ""
            found.append(f"an alarm stands: {chain.alarms[-1]}{more}")
        late_s = self._lag.quantile(0.99)
        if late_s > LAG_S_MAX:
            text = f"the loop is {1000 * late_s:.0f} ms late (p99)"
            found.append(f"{text}: this machine is too busy for a node")
        return found

    def unready(self) -> list[str]:
        """Why `/ready` fails; [] if it does not."""
        chain, network = self._node.chain, self._node.network
        found = self.problems()
        height = chain.state.head.height
        waiting = height - chain.certified
        if len(chain.validators) > 1 and waiting > UNCERTIFIED_BLOCKS_MAX:
            text = f"{waiting} blocks wait for a certificate"
            found.append(f"{text}: fewer than {chain.validators.quorum} validators vote")
        found += self._l1()
        if not self._node.leads and network is not None:
            heads = [facts.head for facts in network.peers() if facts.ready]
            best = max((head.height for head in heads if head is not None), default=0)
            if not heads:
                found.append("no peer is connected: check --peer and the firewall")
            elif best - height > BEHIND_BLOCKS_MAX:
                found.append(f"{best - height} blocks behind a peer: wait, it catches up")
        return found

    def _l1(self) -> list[str]:
        """What keeps this node from seeing the L1, or its blocks from going on."""
        bridge = self._node.bridge
        if bridge is None:
            return []
        found = []
        silent_s = bridge.watcher.silent_s()
        if silent_s > L1_SILENT_S:
            text = f"no news from the L1 for {silent_s:.0f} s"
            found.append(f"{text}: {bridge.watcher.problem}")
        behind = bridge.origins.behind()
        if behind:
            final = bridge.facts.finalized
            seen = f"it has {final.number}" if final else "it has none yet"
            text = f"the next block waits until this node's L1 finalizes block {behind}"
            found.append(f"{text}, {seen}: is the execution client synchronised?")
        return found

    def health_page(self) -> Page:
        return self._page(self.problems())

    def ready_page(self) -> Page:
        return self._page(self.unready())

    def _page(self, problems: list[str]) -> Page:
        chain = self._node.chain
        body = {
            "ok": not problems,
            "problems": problems,
            "height": chain.state.head.height,
            "certified": chain.certified,
            "loop_lag_p99_ms": round(1000 * self._lag.quantile(0.99), 3),
        }
        status = 503 if problems else 200
        return Page(b"application/json", msgspec.json.encode(body) + b"\n", status)
