"""Token buckets, per peer and for all peers together.

What lives here: how much may pass now. What must never live here: what is counted, and what
happens to the rest. Buckets are asked before anything costly, above all before a signature is
checked (60 µs): a flood costs its sender more than us.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

REMEMBERED_PEERS_MAX: Final = 1024


class Rate(NamedTuple):
    """Units per second, and how many may come at once."""

    per_s: float
    burst: float


class Bucket:
    """One token bucket; full at first. `clock` gives monotonic seconds."""

    __slots__ = ("_at", "_clock", "_level", "_rate")

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._level = rate.burst
        self._at = clock()

    def has(self, units: float) -> bool:
        now = self._clock()
        per_s, burst = self._rate
        self._level = min(burst, self._level + (now - self._at) * per_s)
        self._at = now
        return self._level >= units

    def take(self, units: float) -> bool:
        """Whether `units` pass; if not, none are taken."""
        if not self.has(units):
            return False
        self._level -= units
        return True


class Budget(NamedTuple):
    """Messages and bytes, for one peer and for all."""

    messages: Rate
    data: Rate
    all_messages: Rate
    all_data: Rate


class Meter:
    """Who may send another message of `size` bytes under a budget.

    A peer's buckets outlive its connection, so that reconnecting does not refill them; the peers
    that were silent longest are forgotten first.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._all = (Bucket(budget.all_messages, clock), Bucket(budget.all_data, clock))
        self._peers: OrderedDict[str, tuple[Bucket, Bucket]] = OrderedDict()

    def within(self, peer: str, size: int) -> bool:
        """Whether the peer itself is within its rate; takes the tokens if so."""
        buckets = self._peers.get(peer)
        if buckets is None:
            budget = self._budget
            buckets = (Bucket(budget.messages, self._clock), Bucket(budget.data, self._clock))
            self._peers[peer] = buckets
            if len(self._peers) > REMEMBERED_PEERS_MAX:
                self._peers.popitem(last=False)
        self._peers.move_to_end(peer)
        return take_both(buckets, size)

    def within_all(self, size: int) -> bool:
        """Whether all peers together are within the rate; takes the tokens if so."""
        return take_both(self._all, size)


def take_both(buckets: tuple[Bucket, Bucket], size: int) -> bool:
    messages, data = buckets
    return messages.has(1) and data.take(size) and messages.take(1)
