"""The exchanges that the core's random runs start from: sizes, markets, fees, who holds what.

What lives here: small venues, each small in another way, so that random rows meet every limit. What
must never live here: a random choice.
"""

from dataclasses import dataclass
from typing import Final

from core_rows import (
    Address,
    address,
    deposit,
    fees,
    list_asset,
    list_market,
    market_status,
    tier,
)

START: Final = 1_700_000_000_000  # ms
GOVERNOR: Final[Address] = (7, 7, 7)
FEE_OWNER: Final[Address] = (1, 0, 5)
FIRST_TRADER: Final = 2  # account number; 0 is the sentinel, 1 the fee account


@dataclass(frozen=True)
class Market:
    """A market of a venue; `centre` and `spread` in ticks say where random orders lie."""

    price_bits: int = 8
    pool_bits: int = 6
    page_bits: int = 6
    base: int = 0
    quote: int = 1
    base_per_lot: int = 10
    quote_per_tick_lot: int = 3
    min_notional: int = 0
    lots_max: int = 1000
    band: int = 0
    orders: int = 4096
    reference: int = 0
    rates: tuple[tuple[int, int], ...] = ((2500, -1000), (900, 400), (0, 0), (100_000, 33_333))
    centre: int = 100
    spread: int = 20
    lots: int = 60

    def rows(self, number: int) -> list[bytes]:
        listing = list_market(
            base=self.base, quote=self.quote, price_bits=self.price_bits,
            pool_bits=self.pool_bits, page_bits=self.page_bits, base_per_lot=self.base_per_lot,
            quote_per_tick_lot=self.quote_per_tick_lot, min_notional=self.min_notional,
            lots_max=self.lots_max, band=self.band, orders=self.orders, reference=self.reference,
        )  # fmt: skip
        charged = [fees(t, *rate, market=number) for t, rate in enumerate(self.rates)]
        return [listing, *charged, market_status(0, market=number)]


@dataclass(frozen=True)
class Venue:
    """Sizes, parameters and contents of one exchange at genesis."""

    name: str
    markets: tuple[Market, ...]
    funds: tuple[int, ...]  # atoms of assets 0.. that a trader gets, in turn by trader number
    parameters: tuple[int, ...] = (1000, 40_000, 1_000_000, 1_000_000, 16)
    assets_max: int = 4
    markets_max: int = 4
    accounts_max: int = 64
    table_slots: int = 64
    traders: int = 6
    withdraw_min: int = 5
    poor: int = 0  # traders with one atom

    @property
    def funded(self) -> int:
        """How many traders can trade: those before the poor."""
        return self.traders - self.poor

    def rows(self) -> list[bytes]:
        """Genesis: assets, markets, deposits, tiers."""
        rows = [list_asset(0x41414141 + n, 6, self.withdraw_min if n == 1 else 0) for n in range(3)]
        for number, market in enumerate(self.markets):
            rows += market.rows(number)
        for trader in range(self.traders):
            funds = self.funds[trader % len(self.funds)]
            if trader >= self.funded:
                rows.append(deposit(address(trader), 0, 1))
                continue
            rows += [deposit(address(trader), asset, funds) for asset in range(3)]
        rows += [tier(FIRST_TRADER + t, t) for t in range(1, min(4, self.traders))]
        return rows


TINY: Final = Venue(
    "tiny",
    (
        Market(price_bits=6, centre=31, spread=14, min_notional=4),
        Market(price_bits=8, base=2, centre=128, spread=9, base_per_lot=1, quote_per_tick_lot=1),
    ),
    funds=(10**12, 10**9, 40_000),
    parameters=(16, 40_000, 1_000_000, 1_000_000, 4),
    table_slots=32,
    traders=56,
    poor=50,
)
PAGES: Final = Venue(
    "pages",
    (Market(price_bits=13, pool_bits=8, centre=4096, spread=3500, lots_max=10**6, lots=300),),
    funds=(10**15, 10**12),
    parameters=(64, 40_000, 1_000_000, 1_000_000, 1024),
    table_slots=256,
)
WIDE: Final = Venue(
    "wide",
    (
        Market(
            price_bits=12, pool_bits=9, page_bits=7, min_notional=500, band=200_000,
            reference=2000, centre=2000, spread=150, lots_max=10**6, lots=200, orders=70,
        ),
        Market(price_bits=10, pool_bits=7, base=2, centre=500, spread=30, min_notional=9),
    ),
    funds=(10**15, 10**10),
    parameters=(40, 40_000, 1_000_000, 1_000_000, 64),
    table_slots=128,
)  # fmt: skip
HUGE: Final = Venue(
    "huge",
    (
        Market(
            price_bits=6, base_per_lot=61, quote_per_tick_lot=1, lots_max=(1 << 61) // 62,
            centre=31, spread=28, lots=(1 << 61) // 62,
        ),
    ),
    funds=((1 << 62) // 7, 1 << 40),
    parameters=(100, 64, 20, 64, 8),
    table_slots=32,
    traders=5,
)  # fmt: skip
CROWD: Final = Venue(
    "crowd",
    (Market(price_bits=7, centre=60, spread=20),),
    funds=(10**9,),
    parameters=(50, 40_000, 1_000_000, 1_000_000, 16),
    accounts_max=2048,
    table_slots=32,
    traders=1300,
    poor=1292,
)
VENUES: Final = {venue.name: venue for venue in (TINY, PAGES, WIDE, HUGE, CROWD)}
