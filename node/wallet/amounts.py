"""Decimals that people write, and the integers that the chain has: exact, or refused.

What lives here: conversions by the terms that the node lists. What must never live here: a float,
rounding, or a term that stands in this program.

    one lot   = base_per_lot atoms of the base asset
    one tick  = quote_per_tick_lot atoms of the quote asset for one lot
    one unit  = 10^decimals atoms
"""

import re
from fractions import Fraction
from typing import Final

from node.client.answers import Asset, Market
from node.exceptions import NodeError

NOT_EXACT: Final = 7845
UNKNOWN_NAME: Final = 7846

DECIMAL: Final = re.compile(r"[0-9]{1,24}(\.[0-9]{1,24})?")


class Terms:
    """What is listed now. Every refusal is `NodeError` 7845 or 7846."""

    def __init__(self, assets: list[Asset], markets: list[Market]) -> None:
        self._assets = assets
        self._markets = markets

    def market(self, name: str) -> Market:
        """A market by name or number."""
        for market in self._markets:
            if name in (market.name, str(market.market)):
                return market
        listed = ", ".join(market.name for market in self._markets)
        raise NodeError(UNKNOWN_NAME, f"there is no market {name[:40]!r}; listed are {listed}")

    def asset(self, name: str) -> Asset:
        """An asset by name or number."""
        for asset in self._assets:
            if name in (asset.name, str(asset.asset)):
                return asset
        listed = ", ".join(asset.name for asset in self._assets)
        raise NodeError(UNKNOWN_NAME, f"there is no asset {name[:40]!r}; listed are {listed}")

    def ticks(self, market: Market, price: str) -> int:
        """A price in units of quote for one unit of base."""
        return _whole(_decimal(price) / self._per_tick(market), f"price {price}", "tick")

    def lots(self, market: Market, size: str) -> int:
        """A quantity in units of base."""
        return _whole(_decimal(size) / self._per_lot(market), f"size {size}", "lot")

    def atoms(self, asset: Asset, amount: str) -> int:
        """An amount in units of the asset."""
        return _whole(_decimal(amount) * 10**asset.decimals, f"amount {amount}", "atom")

    def price_text(self, market: Market, ticks: int) -> str:
        quote = self._by_number(market.quote)
        return f"{text_of(ticks * self._per_tick(market))} {quote.name}"

    def size_text(self, market: Market, lots: int) -> str:
        base = self._by_number(market.base)
        return f"{text_of(lots * self._per_lot(market))} {base.name}"

    def amount_text(self, asset: Asset, atoms: int) -> str:
        return f"{text_of(Fraction(atoms, 10**asset.decimals))} {asset.name}"

    def _per_lot(self, market: Market) -> Fraction:
        return Fraction(int(market.base_per_lot), 10 ** self._by_number(market.base).decimals)

    def _per_tick(self, market: Market) -> Fraction:
        quote = self._by_number(market.quote)
        return Fraction(int(market.quote_per_tick_lot), 10**quote.decimals) / self._per_lot(market)

    def _by_number(self, number: int) -> Asset:
        return self.asset(str(number))


def text_of(value: Fraction) -> str:
    """A decimal, or the fraction itself where there is no finite one."""
    digits = 0
    while digits < 64 and (value * 10**digits).denominator != 1:
        digits += 1
    scaled = value * 10**digits
    if scaled.denominator != 1:
        return str(value)
    if digits == 0:
        return str(scaled.numerator)
    whole, part = divmod(scaled.numerator, 10**digits)
    return f"{whole}.{part:0{digits}}"


def _decimal(text: str) -> Fraction:
    if not DECIMAL.fullmatch(text):
        raise NodeError(NOT_EXACT, f"{text[:40]!r} is no decimal: digits, and one point at most")
    return Fraction(text)


def _whole(value: Fraction, what: str, unit: str) -> int:
    if value.denominator == 1:
        return value.numerator
    low = value.numerator // value.denominator
    text = f"{what} is {text_of(value)} {unit}s, and there are only whole ones"
    raise NodeError(NOT_EXACT, f"{text}: {low} or {low + 1}; nothing is rounded here")
