"""The naive twin's audit: what must be true of any state, worked out from the records.

What lives here: the conservation law, locks as sums over orders, and the agreement of tables,
queues, counters and lists. What must never live here: a repair.
"""

from collections import defaultdict

from consensus.accounts.naive import Ledger
from consensus.matching.naive_book import Market, Venue


def claim(holds: bool, text: str) -> None:
    """Raise AssertionError with `text` unless `holds`."""
    if not holds:
        raise AssertionError(text)


def audit(venue: Venue) -> None:
    """Raise AssertionError, naming what broke, if the state contradicts itself."""
    audit_funds(venue)
    audit_list(venue.ledger)
    live = 0
    for market in venue.markets:
        audit_book(market)
        audit_orders(venue.ledger, market)
        live += len(market.pool)
    tables = sum(len(account.table) for account in venue.ledger.accounts)
    claim(tables == live, f"order tables name {tables} orders, the pools hold {live}")


def audit_funds(venue: Venue) -> None:
    ledger = venue.ledger
    locks: defaultdict[tuple[int, int], int] = defaultdict(int)
    for market in venue.markets:
        for order in market.pool.values():
            where = order.account.index, market.locked_asset(order.side)
            locks[where] += market.lock_of(order, order.left)
    for number, asset in enumerate(ledger.assets):
        total = 0
        for account in ledger.accounts:
            balance = account.balances[number]
            where_text = f"account {account.index}, asset {number}"
            claim(balance.available >= 0, f"{where_text}: available is {balance.available}")
            sum_of_locks = locks[account.index, number]
            claim(
                balance.locked == sum_of_locks,
                f"{where_text}: locked is {balance.locked}, its orders lock {sum_of_locks}",
            )
            total += balance.available + balance.locked
        supply = asset.deposited - asset.withdrawn
        claim(total == supply, f"asset {number}: accounts hold {total} of a supply of {supply}")


def audit_list(ledger: Ledger) -> None:
    addresses = [(account.address, account.index) for account in ledger.accounts]
    claim(ledger.by_address == sorted(addresses), "the address list is not the sorted accounts")
    armed = [schedule.account for schedule in ledger.schedules]
    claim(len(set(armed)) == len(armed), "an account has two switches")


def audit_book(market: Market) -> None:
    queued = 0
    pages: list[int] = []
    best: list[int] = []
    for side, book in enumerate(market.sides):
        name = f"market {market.number}, side {side}"
        claim(book.keys == sorted(book.levels), f"{name}: keys are not those of the levels")
        lines: defaultdict[int, int] = defaultdict(int)
        orders = 0
        for key, level in book.levels.items():
            lines[key >> 6] += 1
            orders += len(level)
            claim(len(level) > 0, f"{name}: phantom level at key {key}")
            for slot, order in level.items():
                there = order.side == side and market.key(side, order.price) == key
                claim(there and market.pool.get(slot) is order, f"{name}: slot {slot} is astray")
        counts = {line: levels for line, (_, levels) in book.pages.items()}
        claim(counts == lines, f"{name}: pages count {counts}, levels need {dict(lines)}")
        claim(orders == book.orders, f"{name}: counts {book.orders} orders, queues {orders}")
        queued += orders
        pages += [page for page, _ in book.pages.values()]
        best += book.keys[:1]
    claim(queued == len(market.pool), f"market {market.number}: an order is in no queue")
    claim(len(best) < 2 or sum(best) >= market.ticks, f"market {market.number}: crossed book")
    claim(len(set(pages)) == len(pages), f"market {market.number}: a page is used twice")
    claim(market.page_numbers.used == len(pages), f"market {market.number}: a page is lost")
    claim(market.slots.used == len(market.pool), f"market {market.number}: a slot is lost")


def audit_orders(ledger: Ledger, market: Market) -> None:
    held: defaultdict[int, int] = defaultdict(int)
    for slot, order in market.pool.items():
        name = f"market {market.number}, slot {slot}"
        claim(order.visible > 0 and order.hidden >= 0, f"{name}: nothing to see")
        claim(order.hidden == 0 or order.visible <= order.peak, f"{name}: more than its peak")
        claim(order.total >= order.left, f"{name}: filled is negative")
        entry = order.account.table.get(order.client & (ledger.table_slots - 1))
        claim(entry == (market.number, slot), f"{name}: not in its owner's table")
        held[order.account.index] += 1
    for account, position in market.traders.items():
        name = f"market {market.number}, trader {account}"
        claim(position.orders == held[account], f"{name}: counts {position.orders} orders")
        claim(position.cost >= 0, f"{name}: cost is negative")
        claim(position.net != 0 or position.cost == 0, f"{name}: flat with a cost")
    net = sum(position.net for position in market.traders.values())
    claim(net == 0, f"market {market.number}: positions sum to {net}")
    paid = sum(position.fees for position in market.traders.values())
    claim(paid >= 0, f"market {market.number}: fees sum to {paid}")
