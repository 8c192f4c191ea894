"""What a peer pays for each offence, and when it is shown the door.

What lives here: the offences with their prices, a score per peer that decays, and the ban list.
What must never live here: how an offence was noticed, or how a connection is closed.

A score is the sum of prices, halved every ten minutes. At 50 points the peer is disconnected; at
100 it is banned for an hour, across restarts. So one malformed frame costs the connection, two in
short order an hour; a peer that is merely too eager has to be so many times. Prior art:
Lighthouse's peer scores; Trinity's `p2p/tracking`, where the price stands beside the error's name.

Doubt: identities are free, so a banned peer returns under a new one and pays with a handshake.
The limits that hold against that are the global ones in `rates.py` and `swarm.py`.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from .exceptions import NetworkMisuse

BANS_UNREADABLE: Final = 7600

DISCONNECT_POINTS: Final = 50
BAN_POINTS: Final = 100
BAN_S: Final = 3600
SCORE_HALF_LIFE_S: Final = 600
SCORED_PEERS_MAX: Final = 4096
BANS_MAX: Final = 4096


class Offence(NamedTuple):
    """One kind of misbehaviour; `price` in points."""

    name: str
    price: int


# Gossip
MALFORMED_RPC: Final = Offence("malformed_rpc", 50)  # bytes that are not a pubsub RPC
OVERSIZED_RPC: Final = Offence("oversized_rpc", 50)  # a frame over the RPC limit
TOO_MANY_PUBLISHES: Final = Offence("too_many_publishes", 50)  # in one RPC
TOO_MANY_CONTROLS: Final = Offence("too_many_controls", 25)  # subscriptions or ids in one RPC
MALFORMED_MESSAGE: Final = Offence("malformed_message", 25)  # topics, origin or size
BAD_SIGNATURE: Final = Offence("bad_signature", 25)  # not signed by its origin
INVALID_MESSAGE: Final = Offence("invalid_message", 20)  # the topic's check said offence
FLOOD: Final = Offence("flood", 2)  # each message over the peer's rate
# Streams
MALFORMED_FRAME: Final = Offence("malformed_frame", 25)  # a frame or packed message
OVERSIZED_FRAME: Final = Offence("oversized_frame", 50)
REQUEST_FLOOD: Final = Offence("request_flood", 2)  # each request over the peer's rate
UNFINISHED_REQUEST: Final = Offence("unfinished_request", 5)  # began one and fell silent
SLOW_READER: Final = Offence("slow_reader", 10)  # asked, and did not read the answer
FALSE_RESPONSE: Final = Offence("false_response", 25)  # more or larger chunks than allowed
TOO_MANY_STREAMS: Final = Offence("too_many_streams", 10)
CREDIT_OVERRUN: Final = Offence("credit_overrun", 50)  # more batches than credits
# Found by the node after delivery
INVALID_BLOCK: Final = Offence("invalid_block", 50)
INVALID_BATCH: Final = Offence("invalid_batch", 20)
INVALID_VOTE: Final = Offence("invalid_vote", 50)
INVALID_SNAPSHOT: Final = Offence("invalid_snapshot", 100)


class Sentence(Enum):
    """What follows from an offence."""

    NOTED = "noted"
    DISCONNECT = "disconnect"
    BAN = "ban"


class Score(NamedTuple):
    """Points at a moment, in the seconds of the ledger's clock."""

    points: float
    at: float


class BanStore(Protocol):
    """Where bans survive a restart: Unix seconds of release, by peer."""

    def load(self) -> dict[str, int]: ...
    def save(self, bans: dict[str, int]) -> None: ...


class MemoryBans:
    """Bans that live as long as this object, for simulations."""

    def __init__(self) -> None:
        self._bans: dict[str, int] = {}

    def load(self) -> dict[str, int]:
        return dict(self._bans)

    def save(self, bans: dict[str, int]) -> None:
        self._bans = dict(bans)


class FileBans:
    """Bans in a JSON file {peer: unix seconds}, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, int]:
        """Errors: 7600 when the file is there and is not a ban list."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as fault:
            raise self._unreadable() from fault
        if not isinstance(found, dict) or not all(type(until) is int for until in found.values()):
            raise self._unreadable()
        return found

    def save(self, bans: dict[str, int]) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(bans, indent=1, sort_keys=True) + "\n")
        os.replace(fresh, self._path)

    def _unreadable(self) -> NetworkMisuse:
        text = f"{self._path} is not a ban list: delete it to start without bans"
        return NetworkMisuse(BANS_UNREADABLE, text, path=str(self._path))


class Ledger:
    """Scores and bans. `clock` gives monotonic seconds, `wall` Unix seconds."""

    def __init__(
        self, bans: BanStore, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._store = bans
        self._scores: dict[str, Score] = {}
        self._bans = {peer: until for peer, until in bans.load().items() if until > wall()}
        self.charged: dict[str, int] = {}  # offence name -> times, for metrics

    def charge(self, peer: str, offence: Offence) -> Sentence:
        """Add the price; say what follows. The caller carries it out."""
        self.charged[offence.name] = self.charged.get(offence.name, 0) + 1
        points = self.score(peer) + offence.price
        self._scores.pop(peer, None)  # so that the order of the dict is the order of offences
        self._scores[peer] = Score(points, self._clock())
        if len(self._scores) > SCORED_PEERS_MAX:
            del self._scores[next(iter(self._scores))]
        if points >= BAN_POINTS:
            self.ban(peer, BAN_S)
            return Sentence.BAN
        return Sentence.DISCONNECT if points >= DISCONNECT_POINTS else Sentence.NOTED

    def score(self, peer: str) -> float:
        """Points now, after decay."""
        points, at = self._scores.get(peer, Score(0.0, 0.0))
        return points * math.exp2((at - self._clock()) / SCORE_HALF_LIFE_S)

    def ban(self, peer: str, seconds: int) -> None:
        now = int(self._wall())
        live = {one: until for one, until in self._bans.items() if until > now}
        live.pop(peer, None)
        while len(live) >= BANS_MAX:
            del live[min(live, key=live.__getitem__)]
        live[peer] = now + seconds
        self._bans = live
        self._store.save(live)

    def pardon(self, peer: str) -> None:
        """Forget score and ban, at an operator's word."""
        self._scores.pop(peer, None)
        if self._bans.pop(peer, None) is not None:
            self._store.save(self._bans)

    def banned(self, peer: str) -> bool:
        return self._bans.get(peer, 0) > self._wall()

    def bans(self) -> Iterator[tuple[str, int]]:
        """(peer, Unix seconds of release) of the bans in force."""
        now = self._wall()
        return ((peer, until) for peer, until in self._bans.items() if until > now)
