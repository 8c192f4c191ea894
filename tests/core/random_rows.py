"""Random operation rows for one exchange: sensible ones, wrong ones, and pure garbage.

What lives here: choices among operations, from what a client can know (`exchange_view`). What must
never live here: groups, keys and nonces (`random_groups`), or an expectation.

A row is sensible first; `spoil` then breaks some. A generator that only guessed would spend its
rows on the first check and never see the last one.
"""

import random

import core_rows as rows
from core_rows import ROW, Address, address, wrapped
from exchange_view import ExchangeView, LiveOrder
from venues import Market, Venue

DAY_MS = 86_400_000
EDGES = (0, 1, -1, 2, 63, 64, 1 << 20, 1 << 32, (1 << 53) - 1, 1 << 53, (1 << 61) + 1,
         (1 << 62) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63))  # fmt: skip
MOODS = ("mixed", "fill", "drain")
TIFS = {"mixed": (78, 14, 8), "fill": (97, 2, 1), "drain": (50, 40, 10)}
PARAMETERS = (
    (16, 24, 64, 1000, 5000), (64, 256, 40_000), (1, 1000, 1_000_000), (64, 200, 1_000_000),
    (0, 3, 64, 1024),
)  # fmt: skip


class RandomRows:
    """Operation rows for `view`, drawn from `chance`."""

    def __init__(self, venue: Venue, view: ExchangeView, chance: random.Random) -> None:
        self.venue, self.view, self.chance = venue, view, chance
        self.client_ids = venue.table_slots * 3 // 2
        self.mood = "mixed"

    def some(self, share: float) -> bool:
        return self.chance.random() < share

    def market(self) -> int:
        if self.some(0.01):
            return self.chance.choice((self.view.markets, 62, 65535))
        if self.some(0.9):
            return self.chance.randrange(len(self.venue.markets))
        return self.chance.randrange(self.view.markets)

    def terms(self, market: int) -> Market:
        return self.venue.markets[market] if market < len(self.venue.markets) else Market()

    def price(self, side: int, terms: Market, market: int) -> int:
        draw = self.chance.random()
        top = (1 << terms.price_bits) - 2
        if draw < 0.03:
            return self.chance.choice((1, top, 1, top, 0, top + 1, 2, top - 1))
        if draw < 0.10:
            return self.chance.randrange(1, top + 1)
        nearest = 0 if self.mood == "fill" else -terms.spread // 4
        away = int(self.chance.triangular(nearest, terms.spread, nearest))
        centre = terms.centre
        if self.some(0.3):
            centre = self.view.last.get(market, centre)
        return max(1, min(top, centre + (away if side else -away)))

    def lots(self, terms: Market) -> int:
        draw = self.chance.random()
        if draw < 0.01:
            return self.chance.choice((0, -1, terms.lots_max, terms.lots_max + 1))
        if draw < (0.3 if self.mood == "drain" else 0.04):
            return self.chance.randrange(1, terms.lots_max + 1)
        if draw < 0.3:
            return min(terms.lots_max, self.chance.randrange(1, 4))
        return self.chance.randrange(1, max(2, terms.lots))

    def expires(self) -> int:
        draw = self.chance.random()
        if draw < 0.85:
            return 0
        if draw < 0.86:
            return self.view.time - self.chance.randrange(2)
        return self.view.time + self.chance.randrange(1, 3000)

    def place(self, account: int) -> bytes:
        chance = self.chance
        market, side = self.market(), chance.randrange(2)
        terms = self.terms(market)
        tif = chance.choices((0, 1, 2), TIFS[self.mood])[0]
        kind = chance.choices((0, 1, 2), (60, 20, 20))[0] if tif else 0
        post = chance.choices((0, 1, 2), (70, 15, 15))[0] if not tif else 0
        price, lots = self.price(side, terms, market), self.lots(terms)
        flags, display, minimum = 0, 0, 0
        if kind == 2 and tif == 2:
            kind = 0
        if kind == 2:
            side, lots = 0, chance.choice((1, lots * price * terms.quote_per_tick_lot, lots * 50))
            lots = wrapped(lots)
            price = chance.choice((0, price))
        elif self.some(0.05):
            flags = 1
            net = self.view.net.get((market, account), 0)
            if net and self.some(0.8):
                side, lots = int(net > 0), max(1, chance.randrange(abs(net) + 1))
        if not tif and self.some(0.15):
            display = max(1, -(-lots // chance.choice((2, 5, 20, 64, 70))))
        if not post and kind != 2 and self.some(0.1):
            minimum = max(0, min(lots, self.lots(terms)))
        return rows.place(
            side, price, lots, client=chance.randrange(self.client_ids), market=market, tif=tif,
            kind=kind, post=post, stp=chance.randrange(5), flags=flags, display=display,
            minimum=minimum, expires=self.expires(),
        )  # fmt: skip

    def own_order(self, account: int) -> LiveOrder | None:
        own = self.view.of_account.get(account)
        return self.chance.choice(list(own.values())) if own and self.some(0.95) else None

    def foreign(self) -> tuple[int, int]:
        """(market, handle) that is stale, another account's, or made up."""
        chance, dead = self.chance, self.view.dead
        if dead and self.some(0.6):
            return chance.choice(dead)[:2]
        if self.view.orders and self.some(0.5):
            market, handle = chance.choice(list(self.view.orders))
            return market, handle + chance.choice((0, 1, -1, 1 << 24, -(1 << 24)))
        return self.market(), wrapped(chance.choice(EDGES) + chance.randrange(64))

    def amend(self, account: int) -> bytes:
        order, chance = self.own_order(account), self.chance
        if order is None:
            market, handle = self.foreign()
            return rows.amend(handle, 100, chance.randrange(100), market=market & 65535)
        terms = self.terms(order.market)
        price = order.price if self.some(0.5) else self.price(order.side, terms, order.market)
        total = chance.choice((
            self.lots(terms), max(0, order.left - chance.randrange(4)), order.left + 1,
            chance.randrange(order.left + 1),
        ))  # fmt: skip
        if self.some(0.3):
            return rows.amend_client(order.client, price, total)
        return rows.amend(order.handle, price, total, market=order.market)

    def cancel(self, account: int) -> bytes:
        order = self.own_order(account)
        if order is None:
            market, handle = self.foreign()
            return rows.cancel(handle, market=market & 65535)
        return rows.cancel(order.handle, market=order.market)

    def cancel_client(self, account: int) -> bytes:
        order = self.own_order(account)
        if order is None or self.some(0.3):
            return rows.cancel_client(self.chance.randrange(self.client_ids))
        return rows.cancel_client(order.client)

    def cancel_all(self, account: int) -> bytes:
        first = self.chance.choice((0, 0, self.chance.randrange(self.venue.table_slots + 1)))
        return rows.cancel_all(self.chance.choice((65535, self.market())), first)

    def amount(self) -> int:
        exact = (1, 5, 40_000, 10**6, 1 << 40, (1 << 62) - 1, 0, 1 << 62)
        return self.chance.choice(exact) if self.some(0.3) else self.chance.randrange(1, 5000)

    def asset(self) -> int:
        return self.chance.randrange(3) if self.some(0.97) else self.chance.choice((3, 4, 200, -1))

    def stranger(self) -> Address:
        return address(self.chance.randrange(90))

    def transfer(self, account: int) -> bytes:
        known = len(self.view.owners)
        to = self.chance.randrange(known + 1) if self.some(0.97) else self.chance.choice(EDGES)
        return rows.transfer(to, self.amount(), self.asset())

    def withdraw(self, account: int) -> bytes:
        to = self.stranger() if self.some(0.95) else (0, 0, 0)
        return rows.withdraw(self.asset(), self.amount(), to)

    def grant(self, account: int) -> bytes:
        chance = self.chance
        return rows.grant(
            self.stranger(),
            expires=self.view.time + chance.choice((0, 1, 5000, 90_000, DAY_MS, 2 * DAY_MS)),
            slot=chance.randrange(1, 5),
            cap=chance.choice((1, 20_000, 10**6, (1 << 62) - 1)),
            markets=chance.choice((0, 1, 3, 3, (1 << 62) - 1)),
            reduce_only=int(self.some(0.3)),
            quote=chance.choice((1, 1, 1, 1, 0, 2, self.asset() & 65535)),
        )

    def revoke(self, account: int) -> bytes:
        return rows.revoke(self.chance.randrange(1, 5))

    def dead_man(self, account: int) -> bytes:
        later = self.view.time + self.chance.randrange(1, 4000)
        return rows.dead_man(self.chance.choice((0, later, later, later, self.view.time)))

    def settings(self, account: int) -> bytes:
        return rows.settings(self.chance.randrange(1, 5))

    def of_account(self, account: int) -> bytes:
        """A row that an account may send."""
        makers = (
            (self.place, 520), (self.amend, 140), (self.cancel, 60), (self.cancel_client, 40),
            (self.cancel_all, 4), (self.transfer, 15), (self.withdraw, 15), (self.grant, 20),
            (self.revoke, 8), (self.dead_man, 6), (self.settings, 10),
        )  # fmt: skip
        maker = self.chance.choices([m for m, _ in makers], [w for _, w in makers])[0]
        if self.mood == "fill" and self.some(0.8):
            maker = self.place
        return self.spoil(maker(account))

    def of_governance(self) -> bytes:
        """A row that the governor may send; halts do not last."""
        chance, view = self.chance, self.view
        market = self.market() & 65535
        terms = self.terms(market)
        if view.chain_halted and self.some(0.5):
            return rows.chain_status(0)
        if view.halted and self.some(0.5):
            return rows.market_status(0, market=chance.choice(sorted(view.halted)))
        taker = chance.choice((0, 1, 500, 2500, 100_000))
        number = chance.randrange(len(PARAMETERS))
        value = chance.choice((*PARAMETERS[number], *[self.venue.parameters[number]] * 20))
        row: bytes = chance.choice((
            lambda: rows.list_asset(
                chance.choice((1, 0x55534454, 0, 1 << 56)), chance.randrange(20)),
            self.listing,
            lambda: rows.fees(chance.randrange(5), taker, chance.choice((-taker, 0, 90, 100_000)),
                              market=market),
            lambda: rows.market_status(int(self.some(0.2)), market=market),
            lambda: rows.chain_status(int(self.some(0.2))),
            lambda: rows.validators(chance.randrange(1, 6), *chance.sample(EDGES, 4)),
            lambda: rows.parameter(number, value if self.some(0.9) else 0),
            lambda: rows.tier(chance.randrange(len(view.owners) + 1), chance.randrange(5)),
            lambda: rows.market_limits(
                chance.choice((0, terms.min_notional, 100)),
                chance.choice((*[terms.band] * 9, 50_000)),
                chance.choice((*[terms.orders] * 9, 8)), market=market),
            lambda: rows.governor(chance.choice((view.governor.address, (7, 7, 8), (0, 0, 0)))),
        ))()  # fmt: skip
        return row if row[0] == 33 else self.spoil(row)

    def listing(self) -> bytes:
        """A small market, or one that cannot be listed; never a large one."""
        chance = self.chance
        if self.some(0.6):
            bad = chance.choice((
                {"lots_max": 1 << 61}, {"quote": 0}, {"quote": 9}, {"base_per_lot": 1 << 61},
                {"price_bits": 29}, {"pool_bits": 5}, {"page_bits": 17}, {"orders": 0},
                {"band": 1_000_001}, {"reference": 255}, {"min_notional": -1}, {"lots_max": 0},
            ))  # fmt: skip
            return rows.list_market(**{"price_bits": 8, "pool_bits": 6, "page_bits": 6, **bad})
        return rows.list_market(
            base=chance.choice((0, 2)), price_bits=chance.choice((6, 8)), pool_bits=6, page_bits=6,
            lots_max=1000, reference=chance.choice((0, 30)),
        )  # fmt: skip

    def deposit(self, to: Address) -> bytes:
        amount = self.chance.choice((self.amount(), self.chance.choice(self.venue.funds)))
        return self.spoil(rows.deposit(to, self.asset(), amount))

    def spoil(self, row: bytes) -> bytes:
        """Now and then, break a row: one word, one bit, its code, or all of it."""
        if not self.some(0.05):
            return row
        words = list(ROW.unpack(row))
        chance = self.chance
        draw = chance.random()
        if draw < 0.5:
            words[chance.randrange(1, 8)] = chance.choice(EDGES)
        elif draw < 0.7:
            words[0] = wrapped(words[0] ^ 1 << chance.randrange(64))
        elif draw < 0.85:
            words[0] = words[0] & ~255 | chance.choice((0, 12, 15, 17, 31, 42, 255))
        elif draw < 0.95:
            words[0] = words[0] & ~255 | chance.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 38))
        else:
            words = [wrapped(chance.getrandbits(64)) for _ in range(8)]
        if words[0] & 255 == 33:
            words[0] ^= 8  # a listing of any size would not fit the test's memory
        return ROW.pack(*words)
