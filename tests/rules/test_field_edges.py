"""Every word of every command and of the group header, at the edges of what it may hold.

From one good row each word is replaced in turn: every single bit turned, powers of two and their
neighbours, the limits of the protocol and theirs, the time and the funds and theirs. Core and twin
must say the same to each, number for number. The order of the checks is part of the rules, so a
field whose check is missing shows as another number.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from core_rows import (
    ROW,
    address,
    amend,
    amend_client,
    cancel,
    cancel_all,
    cancel_client,
    chain_status,
    dead_man,
    deposit,
    events_of,
    fees,
    governor,
    grant,
    group,
    list_asset,
    list_market,
    market_limits,
    market_status,
    parameter,
    place,
    revoke,
    row,
    settings,
    tier,
    transfer,
    validators,
    withdraw,
    wrapped,
)
from executors import low_neighbour
from side_by_side import COMMANDS, FUNDS, MESSAGES, Exchange, venue_of
from venues import FIRST_TRADER, GOVERNOR, Market

from consensus import layout
from consensus.execute import group_key_at

POWERS: Final = (6, 7, 8, 16, 20, 22, 24, 30, 32, 40, 48, 53, 56, 61, 62, 63)
LIMITS: Final = (
    0, 1, 4, 16, 18, 64, 255, 256, 1000, 1024, 5000, 40_000, 65_535, 100_000, 1_000_000, 86_400_000,
    layout.PRODUCT_MAX, layout.PRODUCT_MAX // 3 // 126, layout.PRODUCT_MAX // 1000,
    layout.AMOUNT_MAX, layout.AMOUNT_MAX - 3 * FUNDS, layout.AMOUNT_MAX - 4 * FUNDS, FUNDS,
)  # fmt: skip
BANDED: Final = Market(
    price_bits=8, pool_bits=6, page_bits=6, lots_max=100_000, band=500_000, reference=100,
    min_notional=30, rates=((900, 400),) * 4, orders=8,
)  # fmt: skip
GOVERN: Final = layout.KEY_GOVERNANCE
# name: (key, a good row for an exchange whose trader 0 has a session key in slot 2, an order with
# client id 7 and the handle given, and 5 lots of both assets)
ROWS: Final[dict[str, tuple[int, Callable[[Exchange, int], bytes]]]] = {
    "place": (0, lambda e, h: place(0, 100, 20, client=9)),
    "place on a session key": (2, lambda e, h: place(0, 100, 20, client=9)),
    "place with every term": (0, lambda e, h: place(
        1, 90, 64, client=9, display=2, minimum=64, expires=e.time + 50, stp=1)),
    "market order": (0, lambda e, h: place(0, 100, 20, client=9, tif=1, kind=1)),
    "budget order": (0, lambda e, h: place(0, 100, 20_000, client=9, tif=1, kind=2)),
    "post-only": (0, lambda e, h: place(1, 100, 20, client=9, post=2)),
    "fill or kill": (0, lambda e, h: place(0, 100, 20, client=9, tif=2)),
    "reduce only": (0, lambda e, h: place(1, 100, 20, client=9, flags=1)),
    "amend": (0, lambda e, h: amend(h, 99, 30)),
    "amend by client id": (0, lambda e, h: amend_client(7, 98, 18)),
    "amend on a session key": (2, lambda e, h: amend(h, 99, 30)),
    "cancel": (0, lambda e, h: cancel(h)),
    "cancel by client id": (0, lambda e, h: cancel_client(7)),
    "cancel all": (0, lambda e, h: cancel_all()),
    "transfer": (0, lambda e, h: transfer(3, 100, 1)),
    "withdraw": (0, lambda e, h: withdraw(1, 100, (5, 6, 7))),
    "withdraw to a small address": (0, lambda e, h: withdraw(1, 100, (0, 7, 0))),
    "grant": (0, lambda e, h: grant((8, 8, 8), expires=e.time + 1, slot=3, reduce_only=1)),
    "revoke": (0, lambda e, h: revoke(2)),
    "dead-man switch": (0, lambda e, h: dead_man(e.time + 1)),
    "settings": (0, lambda e, h: settings(2)),
    "deposit": (layout.KEY_DEPOSIT, lambda e, h: deposit(address(0), 1, 100)),
    "list asset": (GOVERN, lambda e, h: list_asset(0x41, 18, 5)),
    "list market": (GOVERN, lambda e, h: list_market(
        price_bits=7, pool_bits=7, page_bits=7, band=1_000_000, orders=1, reference=126)),
    "list the largest market": (GOVERN, lambda e, h: list_market(
        price_bits=28, pool_bits=20, page_bits=16, lots_max=1, reference=(1 << 28) - 2)),
    "list a market of dear lots": (GOVERN, lambda e, h: list_market(
        price_bits=6, pool_bits=6, page_bits=6, base_per_lot=1000, quote_per_tick_lot=1)),
    "fees": (GOVERN, lambda e, h: fees(3, 900, -400)),
    "market status": (GOVERN, lambda e, h: market_status(0)),
    "chain status": (GOVERN, lambda e, h: chain_status(0)),
    "validators": (GOVERN, lambda e, h: validators(
        e.core.memory.M[layout.VALIDATORS_EPOCH] + 1, 1, 2, 3, 4)),
    "visits": (GOVERN, lambda e, h: parameter(0, 1000)),
    "leaves": (GOVERN, lambda e, h: parameter(1, 40_000)),
    "rate": (GOVERN, lambda e, h: parameter(2, 1_000_000)),
    "burst": (GOVERN, lambda e, h: parameter(3, 1_000_000)),
    "sweep": (GOVERN, lambda e, h: parameter(4, 8)),
    "tier": (GOVERN, lambda e, h: tier(FIRST_TRADER, 0)),
    "market limits": (GOVERN, lambda e, h: market_limits(30, 500_000, 8)),
    "governor": (GOVERN, lambda e, h: governor(GOVERNOR)),
}  # fmt: skip


def edges(word: int, time: int) -> Iterator[int]:
    """What stands in for a word: its bits turned, powers, limits, times, with their neighbours."""
    yield from (word ^ 1 << bit for bit in range(64))
    for about in (word, time, *LIMITS, *(1 << power for power in POWERS)):
        yield from (about - 1, about, about + 1, -about)


def bent_rows(good: bytes, time: int) -> Iterator[bytes]:
    """The row with each word at each edge; the operation code stays."""
    words = ROW.unpack(good)
    yield from (ROW.pack(wrapped(words[0] ^ 1 << bit), *words[1:]) for bit in range(8, 64))
    for place_of_word in range(1, 8):
        for value in sorted({wrapped(value) for value in edges(words[place_of_word], time)}):
            yield ROW.pack(*words[:place_of_word], value, *words[place_of_word + 1 :])


class Edges:
    """An exchange in which each bent row meets the same situation.

    There is no room for a fifth market: a listing that passes every check is told so.
    """

    def __init__(self) -> None:
        self.exchange = Exchange(venue_of(*[BANDED] * 4, assets_max=8))
        self.governor = GOVERNOR
        self.handle = 0
        self.answers: set[int] = set()

    def execute(self, data: bytes, phase: int) -> tuple[int, bytes]:
        """Core and twin, which agree."""
        exchange = self.exchange
        fault, events = exchange.core.execute(data, phase)
        said = exchange.twin.execute(data, phase)
        assert (fault, events) == said, f"core {fault} {events.hex()}, twin {said}: {data.hex()}"
        return fault, events

    def send(self, key: int, *rows: bytes) -> bytes:
        """One group of trader 0, the governor or L1; its events."""
        e = self.exchange
        signer = {0: address(0), 2: address(902), GOVERN: self.governor}.get(key, address(0))
        nonce, account, expires, phase = self.nonce(key), FIRST_TRADER, e.time + 1000, COMMANDS
        if key == GOVERN:
            account = 0
        elif key == layout.KEY_DEPOSIT:
            account, _ = low_neighbour(e.core.memory.M, signer)
            expires, phase = 0, MESSAGES
        data = group(rows, account=account, signer=signer, nonce=nonce, expires=expires, key=key)
        fault, events = self.execute(data, phase)
        assert fault == 0, fault
        self.answers.update(head >> 8 & 255 for head in memoryview(events).cast("q")[::8])
        return events

    def nonce(self, key: int) -> int:
        """The next one of trader 0's key, of the governor, or of L1."""
        M = self.exchange.core.memory.M
        if key in (layout.KEY_DEPOSIT, layout.KEY_FORCED):
            return int(M[layout.L1_MESSAGES])
        return int(M[group_key_at(M, FIRST_TRADER, key) + layout.KEY_NONCE]) + 1

    def prepare(self) -> None:
        """Session key 2, an order with client id 7, a best ask of another trader's."""
        e = self.exchange
        self.send(0, cancel_all(), grant(address(902), expires=e.time + 50, slot=2))
        events = events_of(self.send(0, place(0, 90, 20, client=7)))
        assert events[0].kind == layout.EVENT_RESTED, events
        self.handle = events[0].words[0]

    def repair(self, key: int, good: bytes, bent: bytes) -> None:
        """What the bent row did is undone by the good one."""
        if key != GOVERN:
            self.prepare()
            return
        if good[0] == layout.OP_GOVERNOR:
            self.governor = ROW.unpack(bent)[1:4]
        self.send(key, good)
        self.governor = GOVERNOR


@pytest.mark.parametrize("name", ROWS)
def test_every_word_of_a_command_at_its_edges_is_answered_as_the_twin_does(name: str) -> None:
    key, good = ROWS[name]
    edge = Edges()
    edge.exchange.rest(1, 1, 100, 50)
    edge.exchange.rest(1, 0, 95, 50)
    edge.prepare()
    before = len(edge.answers)
    for bent in bent_rows(good(edge.exchange, edge.handle), edge.exchange.time):
        words = ROW.unpack(bent)
        if words[0] & 255 == layout.OP_PARAMETER and words[1] == 1 and words[2] == 64:
            continue  # a block of 64 leaves is full already
        events = edge.send(key, bent)
        if events[0] != layout.EVENT_REFUSED:
            edge.repair(key, good(edge.exchange, edge.handle), bent)
    edge.exchange.probe()
    assert len(edge.answers) > before


SIGNED: Final = frozenset({
    layout.GROUP_SHAPE, layout.PHASE, layout.ACCOUNT_UNKNOWN, layout.SIGNER, layout.GROUP_EXPIRED,
    layout.GROUP_FAR, layout.NONCE_FAR,
})  # fmt: skip
FROM_L1: Final = frozenset({layout.GROUP_SHAPE, layout.PHASE, layout.L1_ORDER, layout.HINT})
# name: (key, numbers that its bent headers must meet, the operation)
HEADERS: Final = {
    "owner": (0, SIGNED, cancel(0)),
    "session key": (2, SIGNED | {layout.KEY_UNKNOWN}, cancel(0)),
    "governor": (GOVERN, SIGNED, chain_status(0)),
    "deposit": (layout.KEY_DEPOSIT, FROM_L1, deposit(address(0), 1, 1)),
    "forced": (layout.KEY_FORCED, FROM_L1, cancel(0)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_word_of_a_header_at_its_edges_is_answered_as_the_twin_does(name: str) -> None:
    key, numbers, operation = HEADERS[name]
    from_l1 = numbers is FROM_L1
    edge = Edges()
    edge.prepare()
    e = edge.exchange
    signer = {2: address(902), GOVERN: GOVERNOR}.get(key, address(0))
    account = 0 if key == GOVERN else FIRST_TRADER
    if from_l1:
        account, _ = low_neighbour(e.core.memory.M, signer)
    faults = set()
    # Nonce and expiry 0 stand for good ones, which change from group to group.
    for bent in bent_rows(row(1 << 8 | key << 16, account, 0, 0, *signer), e.time):
        words = list(ROW.unpack(bent))
        words[2] = words[2] or edge.nonce(key)
        words[3] = words[3] or (0 if from_l1 else e.time + 1000)
        data = ROW.pack(*words) + operation * max(1, words[0] >> 8 & 255)
        faults |= {edge.execute(data, phase)[0] for phase in (COMMANDS, MESSAGES)}
    e.probe()
    assert faults >= numbers | {0}
