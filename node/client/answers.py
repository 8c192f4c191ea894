"""What the methods answer, as typed values; integers that JSON carries in strings stay strings.

What lives here: shapes. What must never live here: trust: a value is what one node said.
Fields that a later node adds are ignored; a missing one is error 7802.
"""

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

Digits: TypeAlias = Annotated[str, Meta(pattern=r"^-?[0-9]{1,20}$")]
Hex: TypeAlias = Annotated[str, Meta(pattern=r"^0x([0-9a-f]{2})*$")]


class Status(Struct, frozen=True):
    """`chain_status`."""

    name: str
    chain_id: int
    genesis_hash: Hex
    contract: Hex
    role: str
    height: int
    hash: Hex
    time: int
    certified: int
    appointment: Hex | None


class ValidatorFact(Struct, frozen=True):
    """One of `chain_validators`."""

    key: Hex
    proof: Hex


class Asset(Struct, frozen=True):
    """One of `clob_assets`; `name` is what stands in signed words."""

    asset: int
    symbol: str
    name: str
    decimals: int
    withdraw_minimum: Digits


class Market(Struct, frozen=True):
    """One of `clob_markets`."""

    market: int
    name: str
    base: int
    quote: int
    status: str
    price_max: int
    lots_max: int
    base_per_lot: Digits
    quote_per_tick_lot: Digits
    minimum_notional: Digits
    last: int


class Balance(Struct, frozen=True):
    asset: int
    symbol: str
    available: Digits
    locked: Digits


class SessionKey(Struct, frozen=True):
    slot: int
    address: Hex
    expires: int
    cap: Digits
    used: Digits
    markets: Digits
    epoch: int
    nonce: int


class Account(Struct, frozen=True):
    """`clob_account`; `nonce` is the owner key's highest used."""

    account: int
    address: Hex
    tier: int
    nonce: int
    balances: list[Balance]
    keys: list[SessionKey]


class Order(Struct, frozen=True):
    """One of `clob_openOrders`."""

    market: int
    handle: Digits
    account: int
    side: str
    price: int
    total: int
    left: int
    filled: int
    expires: int
    client: int
    sequence: int


class Submitted(Struct, frozen=True):
    """`clob_submit`."""

    height: int
    sequence: int
    operations: int
    command: Hex
    promise: Hex
    events: list[dict[str, Any]] = []


class Receipt(Struct, frozen=True):
    """`chain_getReceipt`."""

    height: int
    hash: Hex
    sequence: int
    stage: str
    receipt: Hex
    events: list[dict[str, Any]]


class Header(Struct, frozen=True):
    """`chain_getHeader`."""

    height: int
    hash: Hex
    header: Hex
    certificate: Hex | None
    stage: str


class Commands(Struct, frozen=True):
    """`chain_getBlock` with its commands."""

    height: int
    commands: Hex
    signatures: Hex


def data(text: str) -> bytes:
    """The bytes of a `Hex`."""
    return bytes.fromhex(text[2:])


class Withdrawal(Struct, frozen=True):
    """`chain_getWithdrawal`; the last four only where the heights of its batch were given."""

    index: Digits
    height: int
    amount: Digits
    asset: int
    account: int
    to: Hex
    length: int = 0
    place: int = 0
    leaf: Hex = "0x"
    path: list[list[Hex]] = []


class WithdrawalPage(Struct, frozen=True):
    """`chain_getWithdrawals`."""

    withdrawals: list[Withdrawal]
    next: Digits | None
