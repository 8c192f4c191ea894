"""Fees: what is offered to the L1 for a transaction, and for the one that replaces it.

What lives here: arithmetic over what the L1 says it asks. What must never live here: sending, or
patience: when to replace is the committer's.

Policy. A first offer pays twice the next block's base fee and twice the blob fee: five full blocks
in a row cannot outrun it. A replacement raises every fee, because pools compare each one: to twice
for blob transactions, by an eighth for others (geth and ethrex ask 100 % and 10 %). Nothing is
offered above the operator's caps; while the L1 asks more than they allow, we wait, and the backlog
has its own limit.

The contract takes blobs alone (decision 0017). `Market` says what calldata would ask instead, so
that an operator sees what that costs him: nothing as a rule, for a blob is at least 8,192 gas at
the base fee (EIP-7918), which 512 bytes of calldata are too.
"""

from typing import Final, NamedTuple

from node.l1.surface import L1
from node.l1.transactions import GAS_PER_BLOB, Fees

HISTORY_BLOCKS: Final = 10
TIP_MIN: Final = 10**8
"""Wei per gas: 0.1 gwei, below which proposers do not care."""
BLOB_FEE_MIN: Final = 10**9
"""Wei per blob gas offered at least: the price of a blob can rise from 1 wei a thousandfold in
minutes, and what is offered is not what is paid."""
BLOB_FLOOR_DIVISOR: Final = 16  # EIP-7918: 2^13 gas for a blob of 2^17
CALLDATA_BYTE_GAS: Final = 16  # EIP-2028, a byte that is not zero
CALLDATA_FLOOR_GAS: Final = 40  # EIP-7623, a byte that is not zero
COMMIT_ROOM_GAS: Final = 41_858
"""What a commit of three of four executes above its own floor of EIP-7623: so much more calldata
floor is free. Larger committees have more (tests/l1/test_settlement_gas.py)."""
GWEI: Final = 10**9
MILLIETHER: Final = 10**15


class Market(NamedTuple):
    """What the next L1 block asks: wei per gas and per blob gas, and the usual tip."""

    base_fee: int
    tip: int
    blob_fee: int

    @property
    def blob_wei(self) -> int:
        """For a blob, however full."""
        return GAS_PER_BLOB * self.blob_fee

    def calldata_wei(self, byte_count: int) -> int:
        """For so many bytes in the calldata of a commit."""
        return calldata_gas(byte_count) * self.base_fee

    @property
    def breaks_even_bytes(self) -> int:
        """Bytes from which on a blob is cheaper than calldata.

        More than a blob carries while even a full one is dearer.
        """
        gas = self.blob_wei // max(1, self.base_fee)
        at_floor = (gas + COMMIT_ROOM_GAS) // CALLDATA_FLOOR_GAS
        return 1 + min(gas // CALLDATA_BYTE_GAS, at_floor)


class Caps(NamedTuple):
    """The most that is ever offered, wei per gas and per blob gas; `total`: wei for all the gas of
    one transaction. geth and its kin refuse to send more than an ether (`--rpc.txfeecap`)."""

    fee: int = 200 * GWEI
    blob_fee: int = 200 * GWEI
    total: int = 10**18

    def within(self, gas: int) -> "Caps":
        """The caps of a transaction with so much gas."""
        return self._replace(fee=min(self.fee, self.total // max(1, gas)))


def calldata_gas(byte_count: int) -> int:
    """What a commit would take more with so many bytes, none of them zero, in its calldata.

    Hashing them in the contract is not counted, about half a gas a byte.
    """
    at_floor = CALLDATA_FLOOR_GAS * byte_count - COMMIT_ROOM_GAS
    return max(CALLDATA_BYTE_GAS * byte_count, at_floor)


async def market_of(l1: L1) -> Market:
    """Prices now. Raises what `l1.request` raises."""
    history = await l1.request("eth_feeHistory", hex(HISTORY_BLOCKS), "latest", [50])
    tips = sorted(int(row[0], 16) for row in history.get("reward") or [] if row)
    tip = tips[len(tips) // 2] if tips else int(await l1.request("eth_maxPriorityFeePerGas"), 16)
    base_fee = int(history["baseFeePerGas"][-1], 16)
    blob_fee = int(await l1.request("eth_blobBaseFee"), 16)
    return Market(base_fee, max(tip, TIP_MIN), max(blob_fee, base_fee // BLOB_FLOOR_DIVISOR))


def offer(market: Market, caps: Caps, has_blobs: bool) -> Fees | None:
    """What to offer first; None while the L1 asks more than the caps allow."""
    if market.base_fee + market.tip > caps.fee:
        return None
    if has_blobs and market.blob_fee > caps.blob_fee:
        return None
    fee = min(2 * market.base_fee + market.tip, caps.fee)
    blob_fee = min(max(2 * market.blob_fee, BLOB_FEE_MIN), caps.blob_fee) if has_blobs else 0
    return Fees(market.tip, fee, blob_fee)


def replacement(before: Fees, market: Market, caps: Caps) -> Fees | None:
    """What pools take in place of `before`, and the market asks; None if that is above the caps."""
    has_blobs = before.max_blob_fee > 0
    fresh = offer(market, caps, has_blobs)
    if fresh is None:
        return None
    fees = Fees(
        max(fresh.tip, _raised(before.tip, has_blobs)),
        max(fresh.max_fee, _raised(before.max_fee, has_blobs)),
        max(fresh.max_blob_fee, _raised(before.max_blob_fee, has_blobs)),
    )
    return None if fees.max_fee > caps.fee or fees.max_blob_fee > caps.blob_fee else fees


def dearer_than(market: Market, caps: Caps, gas: int, has_blobs: bool) -> str:
    """The options that a transaction with so much gas has to wait for; empty: only the raise that
    pools ask of a replacement is too much."""
    fee = market.base_fee + market.tip
    over = {
        "--fee-cap": fee > caps.fee,
        "--fee-total-cap": fee * gas > caps.total,
        "--blob-fee-cap": has_blobs and market.blob_fee > caps.blob_fee,
    }
    return " and ".join(name for name, is_over in over.items() if is_over)


def _raised(fee: int, has_blobs: bool) -> int:
    return 2 * fee if has_blobs else -(-9 * fee // 8)
