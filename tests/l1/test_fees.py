"""What is offered beats the market within the operator's caps, and beats what it replaces."""

from hypothesis import given
from hypothesis import strategies as st
from l1_wallets import new_l1

from consensus.da.blobs import BLOB_CARRIES_BYTES
from node.build_check import ROOT
from node.l1.fees import (
    BLOB_FEE_MIN,
    GWEI,
    TIP_MIN,
    Caps,
    Market,
    calldata_gas,
    dearer_than,
    market_of,
    offer,
    replacement,
)
from node.l1.transactions import Fees

PRICES = st.integers(0, 10**12)
MARKETS = st.builds(Market, PRICES, PRICES, PRICES)
CAPS = st.builds(Caps, st.integers(1, 10**13), st.integers(1, 10**13), st.just(10**18))


@given(MARKETS, CAPS, st.booleans())
def test_an_offer_covers_the_market_and_stays_below_the_caps(
    market: Market, caps: Caps, has_blobs: bool
) -> None:
    fees = offer(market, caps, has_blobs)
    is_dear = market.base_fee + market.tip > caps.fee
    is_dear = is_dear or (has_blobs and market.blob_fee > caps.blob_fee)
    assert (fees is None) == is_dear
    if fees is not None:
        assert market.base_fee + market.tip <= fees.max_fee <= caps.fee
        assert fees.tip <= fees.max_fee
        assert market.blob_fee * has_blobs <= fees.max_blob_fee <= caps.blob_fee * has_blobs


@given(MARKETS, CAPS, st.integers(1, 10**12), st.integers(0, 10**12))
def test_a_replacement_raises_every_fee_as_pools_ask(
    market: Market, caps: Caps, fee: int, blob_fee: int
) -> None:
    before = Fees(fee // 2, fee, blob_fee)
    fees = replacement(before, market, caps)
    if fees is None:
        return
    percent = 200 if blob_fee else 110
    for old, new in zip(
        (before.tip, before.max_fee, before.max_blob_fee),
        (fees.tip, fees.max_fee, fees.max_blob_fee),
        strict=True,
    ):
        assert 100 * new >= percent * old
    assert fees.max_fee <= caps.fee
    assert fees.max_blob_fee <= caps.blob_fee


@given(CAPS, st.integers(1, 1 << 24))
def test_a_transactions_gas_never_costs_more_than_its_cap(caps: Caps, gas: int) -> None:
    """geth and its kin do not pass on what may cost more than an ether."""
    within = caps.within(gas)
    assert within.fee * gas <= caps.total == 10**18
    assert within.fee == caps.fee or (within.fee + 1) * gas > caps.total
    fees = offer(Market(within.fee, 0, 0), within, has_blobs=False)
    assert fees is not None and fees.max_fee * gas <= 10**18
    assert offer(Market(within.fee + 1, 0, 0), within, has_blobs=False) is None


async def test_the_market_is_what_the_l1_says_with_the_floor_of_eip_7918() -> None:
    l1 = new_l1(sidecar_version=0)
    l1.chain.tip_floor = 3 * GWEI
    market = await market_of(l1)
    assert market.tip == 3 * GWEI
    assert market.blob_fee == max(1, market.base_fee // 16)
    l1.chain.tip_floor, l1.chain.blob_fee_floor = 1, 50 * GWEI
    assert (await market_of(l1)).blob_fee == 50 * GWEI
    assert (await market_of(l1)).tip == TIP_MIN


def test_at_its_floor_a_blob_is_cheaper_than_calldata_from_513_bytes_on() -> None:
    """The floor of EIP-7918, where it cannot be cheaper; and there is a least blob fee."""
    assert Market(16 * GWEI, 1, GWEI).breaks_even_bytes == 513
    assert offer(Market(GWEI, 1, 1), Caps(), True) == Fees(1, 2 * GWEI + 1, BLOB_FEE_MIN)


@given(st.builds(Market, st.integers(1, 10**12), PRICES, PRICES))
def test_from_where_a_blob_breaks_even_it_is_the_cheaper_one_and_not_before(market: Market) -> None:
    count = market.breaks_even_bytes
    assert market.calldata_wei(count) > market.blob_wei >= market.calldata_wei(count - 1)


def test_the_decision_tells_the_prices_that_the_policy_reckons_with() -> None:
    """`-s` prints the table of decision 0017; a blob fee is told as a multiple of the base fee."""
    page = (ROOT / "docs/decisions/0017-batches-in-blobs-only.md").read_text("utf-8")
    for sixteenths in (1, 16, 160, 614, 615, 1600):
        market = Market(16 * GWEI, 1, sixteenths * GWEI)
        even = market.breaks_even_bytes
        row = f"| {sixteenths / 16:g} | {market.blob_wei // market.base_fee:,} | {even:,} |"
        print(row)
        assert row in page
        assert (even > BLOB_CARRIES_BYTES) == (sixteenths >= 615)
    for count in (512, 2_000, 10_000, BLOB_CARRIES_BYTES):
        row = f"| {count:,} | {calldata_gas(count):,} | {calldata_gas(count) / count:.1f} |"
        print(row)
        assert row in page


@given(MARKETS, CAPS, st.integers(1, 1 << 24), st.booleans())
def test_the_caps_that_hold_a_first_offer_back_are_named(
    market: Market, caps: Caps, gas: int, has_blobs: bool
) -> None:
    named = dearer_than(market, caps, gas, has_blobs)
    assert (offer(market, caps.within(gas), has_blobs) is None) == bool(named)
