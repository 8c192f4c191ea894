"""A seeded random run through the naive twin: the laws hold after every operation."""

import random
from collections import Counter

from naive_rows import (
    AGENTS,
    Floor,
    amend,
    amend_client,
    cancel,
    cancel_all,
    cancel_client,
    dead_man,
    events_of,
    fees,
    list_market,
    place,
    settings,
    tier,
    transfer,
    withdraw,
)

SEED = 20_260_502
OPERATIONS = 20_000
REACHED_EVENTS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14}
REACHED_REASONS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
REACHED_REFUSALS = {4, 6, 10, 12, 13, 14, 15, 16, 17}


def random_place(chance: random.Random, client: int, now: int) -> bytes:
    side, tif = chance.randrange(2), chance.choices((0, 1, 2), (8, 1, 1))[0]
    away = chance.randrange(-25, 200) if chance.random() < 0.98 else 5000
    price = 500 + (away if side else -away)
    lots = chance.randrange(1, 400) if chance.random() < 0.99 else 0
    budget = tif == 1 and side == 0 and chance.random() < 0.5
    rests = tif == 0
    iceberg = rests and chance.random() < 0.2
    post = chance.randrange(3) if rests and chance.random() < 0.3 else 0
    return place(
        side,
        0 if budget else price,
        chance.randrange(1, 300_000) if budget else lots,
        client=client,
        tif=tif,
        kind=2 if budget else 0,
        post=post,
        stp=chance.randrange(5),
        flags=0 if budget else int(chance.random() < 0.05),
        display=-(-lots // chance.choice((2, 5, 60))) if iceberg else 0,
        minimum=lots // 2 if not (post or budget) and chance.random() < 0.1 else 0,
        expires=now + chance.randrange(1, 60) if chance.random() < 0.2 else 0,
    )


def random_row(chance: random.Random, floor: Floor, trader: int) -> bytes:
    client, table = chance.randrange(48), floor.exchange.ledger.accounts[trader + 2].table
    pool = floor.exchange.venue.markets[0].pool
    handle = pool[chance.choice(list(table.values()))[1]].handle if table else 1 << 24 | 1
    price, total = 500 + chance.randrange(-90, 90), chance.randrange(500)
    odd = [
        cancel_client(client),
        amend_client(client, price, total),
        cancel_all(chance.choice((0, 65535)), chance.randrange(32)),
        transfer(2 + chance.randrange(5), 10 ** chance.randrange(1, 16), chance.randrange(2)),
        withdraw(chance.randrange(2), chance.randrange(1, 1000), AGENTS[0]),
        dead_man(chance.choice((0, floor.time + chance.randrange(1, 50)))),
        settings(chance.randrange(1, 5)),
    ]
    draw = chance.random()
    if draw < 0.72:
        return random_place(chance, client, floor.time)
    if draw < 0.82:
        stays = draw < 0.75 and len(table) > 0
        return amend(handle, pool[handle & 0xFFFFFF].price if stays else price, total)
    if draw < 0.84:
        return cancel(handle)
    return odd[chance.choices(range(7), (9, 9, 1, 1, 1, 1, 1))[0]]


def test_conservation_locks_tables_and_queues_hold_after_each_of_20000_operations() -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    floor = Floor(
        traders=5, market=list_market(pool_bits=6, page_bits=6, price_bits=10, lots_max=500),
        taker=2500, maker=-1000, parameters=[16, 40_000, 10**6, 10**6, 4, 28], table_slots=32,
    )  # fmt: skip
    floor.govern(fees(1, 900, 400), tier(3, 1), tier(4, 1))
    kinds: Counter[int] = Counter()
    reasons: Counter[int] = Counter()
    refusals: Counter[int] = Counter()
    for number in range(OPERATIONS):
        if number % 20 == 0:
            floor.open(chance.randrange(1, 20))
            floor.exchange.housekeeping()
        trader = chance.randrange(5)
        assert floor.send(trader, random_row(chance, floor, trader)) == 0
        floor.exchange.check()
        for event in events_of(floor.exchange.take_events()):
            kinds[event[0]] += 1
            (refusals if event[0] == 6 else reasons)[event[1]] += 1
    assert set(kinds) >= REACHED_EVENTS, kinds
    assert set(reasons) >= REACHED_REASONS, reasons
    assert set(refusals) >= REACHED_REFUSALS, refusals


def test_the_same_rows_give_the_same_bytes() -> None:
    images = []
    for _ in range(2):
        chance = random.Random(SEED)
        floor = Floor(traders=5, table_slots=32)
        for _ in range(500):
            trader = chance.randrange(5)
            assert floor.send(trader, random_row(chance, floor, trader)) == 0
        images.append((floor.exchange.pack(), floor.exchange.take_events()))
    assert images[0] == images[1]
