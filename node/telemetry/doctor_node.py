"""The checks of `rialto doctor` that ask a running node.

What lives here: the questions, by JSON-RPC, and the thresholds. What must never live here: the
machine.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

from node.roles.sequencer import UNCERTIFIED_BLOCKS_AGAIN, UNCERTIFIED_BLOCKS_MAX
from node.telemetry.finding import FAIL, OK, Finding, graded

ANSWER_S_MAX: Final = 5
LAG_MS_WARN: Final = 20
LAG_MS_FAIL: Final = 200
HEAD_AGE_S_MAX: Final = 10
AHEAD_S_MAX: Final = 2


class Unreachable(Exception):
    """The node did not answer as a node does."""


def examine(url: str) -> Iterator[Finding]:
    try:
        status, peers, health = (
            ask(url, method) for method in ("chain_status", "net_peers", "net_health")
        )
    except Unreachable as error:
        advice = "start the node, or give the address that it printed at its start"
        yield Finding(FAIL, "node", f"{url} does not answer: {error}", advice)
        return
    yield Finding(OK, "node", f"{status['role']} of {status['name']} at {status['height']}", "")
    yield _time(status)
    yield _peers(status, peers)
    yield _backlog(status)
    lag = health["loop_lag_p99_ms"]
    yield graded(
        "loop lag",
        f"p99 {lag:.1f} ms, worst {health['loop_lag_max_ms']:.1f} ms in ten seconds",
        "other work takes this machine's cores: move it away",
        warn=lag > LAG_MS_WARN,
        fail=lag > LAG_MS_FAIL,
    )
    for text in health["unready"]:
        yield Finding(FAIL, "ready", text, "docs/operators.md says what each means")


def _time(status: dict[str, Any]) -> Finding:
    """The head's age by this machine's clock."""
    age = time.time() - status["time"] / 1000
    return graded(
        "head",
        f"{age:.1f} s old",
        "the chain does not move, or the clocks of this machine and the leader differ",
        fail=not -AHEAD_S_MAX <= age <= HEAD_AGE_S_MAX,
    )


def _peers(status: dict[str, Any], peers: list[dict[str, Any]]) -> Finding:
    ready = [one for one in peers if one["ready"]]
    return graded(
        "peers",
        f"{len(ready)} ready of {len(peers)}",
        "check --peer, --listen and the firewall",
        warn=not ready and status["role"] == "leader" and status["validators"] > 1,
        fail=not ready and status["role"] == "follower",
    )


def _backlog(status: dict[str, Any]) -> Finding:
    waiting = status["height"] - status["certified"]
    return graded(
        "certification",
        f"{waiting} blocks wait for a quorum of {status['quorum']} of {status['validators']}",
        "too few validators vote: look at theirs",
        warn=waiting > UNCERTIFIED_BLOCKS_AGAIN and status["validators"] > 1,
        fail=waiting > UNCERTIFIED_BLOCKS_MAX and status["validators"] > 1,
    )


def ask(url: str, method: str) -> Any:
    """The result of a method without parameters. Raises `Unreachable`."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
            found = json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise Unreachable(str(error)) from error
    if not isinstance(found, dict) or "result" not in found:
        raise Unreachable(f"{method}: {found}")
    return found["result"]
