"""The naive twin's door for rows: their form, and which key may send which.

What lives here: the `MALFORMED` lists and the "who may" sentence of `docs/protocol/commands.md`.
What must never live here: a check that needs a balance, an order or a market.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.accounts.naive import address_of
from consensus.matching.naive_numbers import (
    AMEND,
    AMOUNT_MAX,
    CANCEL,
    CANCEL_ALL,
    CANCEL_CLIENT,
    CHAIN_STATUS,
    CLIENT_IDS,
    DEAD_MAN,
    DEPOSIT,
    FEES,
    GOVERNOR,
    GRANT,
    KEY_DEPOSIT,
    KEY_FORCED,
    KEY_GOVERNANCE,
    KEY_OWNER,
    LIST_ASSET,
    LIST_MARKET,
    MARKET_LIMITS,
    MARKET_STATUS,
    NOTIONAL_MAX,
    PARAMETER,
    PLACE,
    REVOKE,
    SETTINGS,
    TIER,
    TIME_MAX,
    TRANSFER,
    VALIDATORS,
    WITHDRAW,
    Row,
)

SIDE: Final = 15 << 8
TIF: Final = 15 << 12
TYPE: Final = 15 << 16
POST: Final = 15 << 20
STP: Final = 15 << 24
FLAGS: Final = 15 << 28
MARKET: Final = 65535 << 32
WORD_PLACE: Final = SIDE | TIF | TYPE | POST | STP | FLAGS | MARKET


@dataclass(frozen=True)
class Shape:
    """The fields of word 0 an operation may use, and how many words after it."""

    fields: int
    words: int


SHAPES: Final = {
    PLACE: Shape(WORD_PLACE, 6),
    AMEND: Shape(FLAGS | MARKET, 3),
    CANCEL: Shape(MARKET, 1),
    CANCEL_CLIENT: Shape(0, 1),
    CANCEL_ALL: Shape(MARKET, 1),
    TRANSFER: Shape(0, 3),
    WITHDRAW: Shape(0, 5),
    GRANT: Shape(0, 7),
    REVOKE: Shape(0, 1),
    DEAD_MAN: Shape(0, 1),
    SETTINGS: Shape(0, 1),
    DEPOSIT: Shape(0, 5),
    LIST_ASSET: Shape(0, 3),
    LIST_MARKET: Shape(0, 7),
    FEES: Shape(MARKET, 3),
    MARKET_STATUS: Shape(MARKET, 1),
    CHAIN_STATUS: Shape(0, 1),
    VALIDATORS: Shape(0, 5),
    PARAMETER: Shape(0, 2),
    TIER: Shape(0, 2),
    MARKET_LIMITS: Shape(MARKET, 3),
    GOVERNOR: Shape(0, 3),
}
SESSION_MAY: Final = (PLACE, AMEND, CANCEL, CANCEL_CLIENT, CANCEL_ALL, DEAD_MAN)


def may(kind: int, op: int) -> bool:
    """Say whether a key of this kind may send this operation."""
    if kind in (KEY_OWNER, KEY_FORCED):
        return PLACE <= op <= SETTINGS
    if kind == KEY_GOVERNANCE:
        return LIST_ASSET <= op <= GOVERNOR
    if kind == KEY_DEPOSIT:
        return op == DEPOSIT
    return op in SESSION_MAY


def well_formed(row: Row, signer: int, table_slots: int) -> bool:
    """Say whether `row` has the form of its operation; `signer` is the group's."""
    head = row[0]
    op = head & 255
    shape = SHAPES.get(op)
    if shape is None or head < 0 or head & ~(255 | shape.fields):
        return False
    if any(row[1 + shape.words :]):
        return False
    if op == CANCEL_ALL:
        return 0 <= row[1] < table_slots
    if op == DEPOSIT:
        return row[1:4] != (0, 0, 0) and address_of(row[1:4]) == signer
    form = FORMS.get(op)
    return form is None or form(row)


def place_form(row: Row) -> bool:
    head, client, _, lots, display, minimum, expires, _ = row
    side, tif, kind = head >> 8 & 15, head >> 12 & 15, head >> 16 & 15
    post, stp, flags = head >> 20 & 15, head >> 24 & 15, head >> 28 & 15
    if tif > 2 or kind > 2 or post > 2 or stp > 4 or flags > 1 or side > 1:
        return False
    if not (0 <= client < CLIENT_IDS and 0 <= expires <= TIME_MAX):
        return False
    if display < 0 or minimum < 0 or minimum > lots:
        return False
    if post and (tif or minimum):
        return False
    if kind and (tif == 0 or post):
        return False
    if display and tif:
        return False
    return not (kind == 2 and (side == 1 or tif == 2 or minimum or flags))


def amend_form(row: Row) -> bool:
    flags, market = row[0] >> 28 & 15, row[0] >> 32
    if flags == 1:
        return market == 0 and 0 <= row[1] < CLIENT_IDS
    return flags == 0


def cancel_client_form(row: Row) -> bool:
    return 0 <= row[1] < CLIENT_IDS


def withdraw_form(row: Row) -> bool:
    return bool(address_of(row[3:6]))


def grant_form(row: Row) -> bool:
    slot, reduce_only, reserved = row[7] & 255, row[7] >> 8 & 255, row[7] >> 32
    return (
        address_of(row[1:4]) is not None
        and 0 <= row[4] <= TIME_MAX
        and 1 <= row[5] <= AMOUNT_MAX
        and 0 <= row[6] < 1 << 62
        and 1 <= slot <= 4
        and reduce_only <= 1
        and reserved == 0
    )


def revoke_form(row: Row) -> bool:
    return 1 <= row[1] <= 4


def dead_man_form(row: Row) -> bool:
    return 0 <= row[1] <= TIME_MAX


def settings_form(row: Row) -> bool:
    return 1 <= row[1] <= 4


def list_asset_form(row: Row) -> bool:
    return 1 <= row[1] < 1 << 56 and 0 <= row[2] <= 18 and 0 <= row[3] <= AMOUNT_MAX


def list_market_form(row: Row) -> bool:
    sizes, limits = row[1], row[6]
    price_bits, pool_bits, page_bits = sizes >> 16 & 255, sizes >> 24 & 255, sizes >> 32 & 255
    return (
        sizes >> 40 == 0
        and limits >> 40 == 0
        and 6 <= price_bits <= 28
        and 6 <= pool_bits <= 20
        and 6 <= page_bits <= 16
        and min(row[2], row[3], row[5]) >= 1
        and 0 <= row[4] <= NOTIONAL_MAX
        and limits & 0xFFFFF <= 1_000_000
        and limits >> 20 >= 1
        and 0 <= row[7] <= (1 << price_bits) - 2
    )


def governor_form(row: Row) -> bool:
    return bool(address_of(row[1:4]))


FORMS: Final[dict[int, Callable[[Row], bool]]] = {
    PLACE: place_form,
    AMEND: amend_form,
    CANCEL_CLIENT: cancel_client_form,
    WITHDRAW: withdraw_form,
    GRANT: grant_form,
    REVOKE: revoke_form,
    DEAD_MAN: dead_man_form,
    SETTINGS: settings_form,
    LIST_ASSET: list_asset_form,
    LIST_MARKET: list_market_form,
    GOVERNOR: governor_form,
}
