"""Events as JSON objects: the names of docs/protocol/events.md instead of words.

What lives here: one function from event words to an object, and the names of refusals and reasons.
What must never live here: a decision about who may see an event; all of them are public.

Handles, amounts and quantities of money are decimal strings, see `operations.py`.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from consensus import layout

EVENT: Final = Struct("<8q")
KINDS: Final = (
    "", "trade", "taken", "rested", "canceled", "reduced", "refused", "mass_canceled",
    "transferred", "withdrawn", "deposited", "granted", "revoked", "scheduled", "set",
)  # fmt: skip
REASONS: Final = (
    "", "by_user", "ioc", "self_trade", "expired", "work_limit", "evicted", "no_room", "dead_man",
    "amended", "budget", "mass",
)  # fmt: skip
REFUSALS: Final = (
    "", "malformed", "unknown_market", "market_halted", "price_range", "price_band", "lots_range",
    "min_notional", "display", "expired", "client_id_taken", "orders_max", "funds",
    "post_only_cross", "unfillable", "work_limit", "unknown_order", "reduce_only", "key_scope",
    "key_cap", "unknown_asset", "unknown_account", "amount_range", "key_slot", "schedule_full",
    "chain_halted", "accounts_full", "supply", "listing", "listing_full", "parameter_range",
    "not_allowed",
)  # fmt: skip
SIDES: Final = ("buy", "sell")


def events_json(events: bytes) -> list[dict[str, object]]:
    """All events of these bytes, in order."""
    return [event_json(words) for words in unpacked(events)]


def unpacked(events: bytes) -> Iterator[tuple[int, ...]]:
    return EVENT.iter_unpack(events)


def event_json(words: tuple[int, ...]) -> dict[str, object]:
    """One event."""
    head, sequence, a, b, c, d, e, f = words
    kind, reason, side = head & 255, head >> 8 & 255, head >> 16 & 15
    flags, market = head >> 20 & 4095, head >> 32 & 65535
    event: dict[str, object] = {"event": KINDS[kind], "sequence": sequence}
    if kind <= layout.EVENT_REDUCED:
        event |= {"market": market, "side": SIDES[side]}
    if kind == layout.EVENT_TRADE:
        event |= {"maker_handle": str(a), "price": b, "lots": c, "maker_fee": str(d),
                  "maker": e & 0xFFFFFFFF, "taker": e >> 32, "maker_left": f,
                  "maker_done": bool(flags & 1)}  # fmt: skip
    elif kind == layout.EVENT_TAKEN:
        event |= {"handle": str(a), "quote": str(b), "lots": c, "taker_fee": str(d),
                  "account": e, "left": f}  # fmt: skip
    elif kind == layout.EVENT_RESTED:
        event |= {"handle": str(a), "price": b, "left": c, "visible": d, "account": e,
                  "client": f}  # fmt: skip
    elif kind == layout.EVENT_CANCELED:
        event |= {"reason": REASONS[reason], "handle": str(a), "price": b, "lots": str(c),
                  "client": d, "account": e}  # fmt: skip
    elif kind == layout.EVENT_REDUCED:
        event |= {"reason": REASONS[reason], "handle": str(a), "price": b, "lots": c, "left": d,
                  "account": e}  # fmt: skip
    elif kind == layout.EVENT_REFUSED:
        event |= {"refusal": reason, "name": REFUSALS[reason], "op": flags, "account": a}
    else:
        event |= _account_event(kind, flags, market, (a, b, c, d, e, f))
    return event


def _account_event(
    kind: int, flags: int, market: int, words: tuple[int, int, int, int, int, int]
) -> dict[str, object]:
    a, b, c, d, e, f = words
    if kind == layout.EVENT_MASS:
        return {"removed": a, "next_slot": b, "account": e}
    if kind == layout.EVENT_TRANSFERRED:
        return {"to": a, "amount": str(b), "asset": c, "account": e}
    if kind == layout.EVENT_WITHDRAWN:
        to = d << 104 | e << 48 | f
        return {"index": a, "amount": str(b), "account": c & 0xFFFFFFFF, "asset": c >> 32,
                "to": f"0x{to:040x}"}  # fmt: skip
    if kind == layout.EVENT_DEPOSITED:
        return {"account": a, "amount": str(b), "asset": c, "l1_index": d, "is_new": bool(flags)}
    if kind == layout.EVENT_GRANTED:
        return {"slot": a, "epoch": b, "account": e}
    if kind == layout.EVENT_REVOKED:
        return {"slot": a, "account": e}
    if kind == layout.EVENT_SCHEDULED:
        return {"due": a, "account": e}
    return {"op": flags, "market": market, "words": [str(word) for word in words]}
