"""What a random run reached: operations, refusals, faults, reasons, events, and named cases.

What lives here: counting, the list of what there is to reach, and a table to print. What must never
live here: an executor, or a judgement of what an answer should have been.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from struct import iter_unpack
from typing import Final

from core_rows import Event
from venues import Venue

from consensus import layout

Reached = Counter[tuple[str, int | str]]
SELF_TRADE_MODES: Final = {1: "cancel maker", 2: "cancel taker", 3: "cancel both", 4: "decrement"}
CASES: Final = (
    "full pool", "full pages", "full accounts", "rests at the low end", "rests at the top",
    "slides", "iceberg shows its next slice", "amend in place", "amend goes to the back",
    "amend takes", "amend cancels", "amend by client id", "dead maker met", "expiry swept",
    "switch fired", "switch left unfinished", "mass cancel left a rest", "bulk of 64",
    "undone and repeated", *(f"self-trade: {name}" for name in SELF_TRADE_MODES.values()),
)  # fmt: skip


def names_between(first: str, last: str) -> dict[int, str]:
    """The constants of layout.py from `first` to `last`, in the order they stand there."""
    names = list(vars(layout))
    chosen = names[names.index(first) : names.index(last) + 1]
    return {getattr(layout, name): name for name in chosen}


NAMES: Final[dict[str, dict[int, str]]] = {
    "operation": names_between("OP_PLACE", "OP_GOVERNOR"),
    "refusal": names_between("MALFORMED", "NOT_ALLOWED"),
    "fault": names_between("NONCE_USED", "PHASE"),
    "event": names_between("EVENT_TRADE", "EVENT_SET"),
    "reason": names_between("REASON_BY_USER", "REASON_MASS"),
}


def everything() -> Iterator[tuple[str, int | str]]:
    """All there is to reach. Nothing is left out: no number of the protocol is out of reach."""
    for kind, names in NAMES.items():
        yield from ((kind, number) for number in names)
    yield from (("case", case) for case in CASES)


def missing(reached: Reached) -> list[tuple[str, int | str]]:
    return [item for item in everything() if not reached[item]]


def table(reached: Reached) -> str:
    """One line for each kind: name and count of each of its items."""
    lines = []
    for kind, names in NAMES.items():
        counts = (f"{number} {name}: {reached[kind, number]:,}" for number, name in names.items())
        lines.append(f"{kind}s  {', '.join(counts)}")
    cases = (f"{case}: {reached['case', case]:,}" for case in CASES)
    return "\n".join([*lines, f"cases  {', '.join(cases)}"])


def count_housekeeping(reached: Reached, events: Sequence[Event]) -> None:
    for event in events:
        reached["event", event.kind] += 1
        reached["reason", event.reason] += 1
        by_switch = event.reason == layout.REASON_DEADMAN
        reached["case", "switch fired" if by_switch else "expiry swept"] += 1


def count_group(
    reached: Reached, venue: Venue, rows: bytes, told: Sequence[tuple[int, Event]], before: int
) -> None:
    """Count a group that was executed; `before` is the SEQUENCE before it."""
    words = list(iter_unpack("<8q", rows))
    if len(words) == 1 + layout.GROUP_OPERATIONS_MAX:
        reached["case", "bulk of 64"] += 1
    for op, event in told:
        reached["event", event.kind] += 1
        if event.kind == layout.EVENT_REFUSED:
            reached["refusal", event.reason] += 1
            continue
        reached["operation", op] += 1
        if event.reason:
            reached["reason", event.reason] += 1
        for case in cases_of(op, event, words[event.sequence - before], venue):
            reached["case", case] += 1


def cases_of(op: int, event: Event, row: tuple[int, ...], venue: Venue) -> Iterator[str]:
    """The named cases that one event of an operation shows."""
    if op == layout.OP_AMEND:
        yield from amend_cases(event, row)
    if event.kind == layout.EVENT_RESTED:
        if op == layout.OP_PLACE and event.words[1] != row[2]:
            yield "slides"
        yield from end_cases(event, venue)
    elif event.kind == layout.EVENT_TRADE and event.flags & 2:
        yield "iceberg shows its next slice"
    elif event.kind == layout.EVENT_MASS and event.words[1] < venue.table_slots:
        yield "mass cancel left a rest"
    if event.reason == layout.REASON_SELF_TRADE and op == layout.OP_PLACE:
        mode = row[0] >> 24 & 15  # 0: the account's default, which the row does not tell
        if mode:
            yield f"self-trade: {SELF_TRADE_MODES[mode]}"
    if event.reason == layout.REASON_EXPIRED:
        yield "dead maker met"


def amend_cases(event: Event, row: tuple[int, ...]) -> Iterator[str]:
    if row[0] >> 28 & 15:
        yield "amend by client id"
    kind = event.kind
    if kind == layout.EVENT_REDUCED and event.reason == layout.REASON_AMENDED:
        yield "amend in place"
    elif kind == layout.EVENT_RESTED:
        yield "amend goes to the back"
    elif kind == layout.EVENT_TRADE:
        yield "amend takes"
    elif kind == layout.EVENT_CANCELED and event.reason == layout.REASON_AMENDED:
        yield "amend cancels"


def end_cases(event: Event, venue: Venue) -> Iterator[str]:
    if event.market < len(venue.markets):
        price = event.words[1]
        if price == 1:
            yield "rests at the low end"
        if price == (1 << venue.markets[event.market].price_bits) - 2:
            yield "rests at the top"
