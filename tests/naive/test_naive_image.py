"""The memory image of the naive twin, words picked by hand from the layout page."""

from struct import unpack

from naive_rows import (
    BUY,
    FUNDS,
    PARAMETERS,
    SELL,
    START,
    Floor,
    address,
    dead_man,
    grant,
    list_market,
    place,
    split,
)

from consensus.state.naive import bitmap, words_above

ACCOUNTS_AT = 8448 + 4 * 16 + 4 * 16
KEYS_AT = ACCOUNTS_AT + 64 * 32
BALANCES_AT = KEYS_AT + 64 * 4 * 16
TABLES_AT = BALANCES_AT + 64 * 4 * 8
END_OF_LEDGER = TABLES_AT + 64 * 256


def image_of(floor: Floor) -> tuple[int, ...]:
    data = floor.exchange.pack()
    return unpack(f"<{len(data) // 8}q", data)


def test_the_ledger_header_is_that_of_the_page() -> None:
    words = image_of(Floor())
    assert words[:4] == (1, 1, START + 1, 11)
    assert words[4:11] == (5, 2, 1, 64, 4, 4, 256)
    assert words[11:16] == (8512, ACCOUNTS_AT, KEYS_AT, BALANCES_AT, TABLES_AT)
    assert words[16] == len(words)
    assert words[17:23] == (0, 1, 0, 0, 0, 0)
    assert words[24:28] == (0x99999999999999, 0x99999999999999, 0x999999999999, 1)
    assert list(words[64:70]) == PARAMETERS


def test_the_address_list_runs_through_next_in_order() -> None:
    words = image_of(Floor(traders=9))
    seen: list[int] = []
    account = 0
    while account or not seen:
        at = ACCOUNTS_AT + 32 * account
        seen.append(words[at] << 104 | words[at + 1] << 48 | words[at + 2])
        account = words[at + 3]
    assert seen == sorted(seen) and len(seen) == 11
    assert set(words[ACCOUNTS_AT : ACCOUNTS_AT + 32]) <= {0, words[ACCOUNTS_AT + 3]}


def test_accounts_keys_balances_and_switches_are_where_the_page_says() -> None:
    floor = Floor()
    floor.say(0, dead_man(START + 77))
    floor.say(0, grant(address(9), expires=START + 50, cap=6, markets=1, slot=2, reduce_only=1))
    words = image_of(floor)
    at = ACCOUNTS_AT + 32 * 2
    assert words[at : at + 3] == split(address(0))
    assert words[at + 4 : at + 8] == (0, 1, 0, 1)
    assert words[at + 8] == 1000 * 1_000_000 - 2000
    assert words[at + 9 : at + 11] == (START + 1, 1)
    assert words[at + 16 : at + 20] == (*split(address(0)), 1)
    assert words[at + 26 : at + 28] == (2, 0b110)
    key = KEYS_AT + 16 * (4 * 2 + 1)
    assert words[key : key + 10] == (*split(address(9)), 3, START + 50, 6, 0, 0, 1, 1)
    assert words[key + 15] == 1
    assert words[256:258] == (2, START + 77) and words[21] == 1
    balance = BALANCES_AT + 8 * (2 * 4)
    assert words[balance : balance + 4] == (FUNDS, 0, FUNDS, 0)


def test_a_market_region_holds_orders_levels_pages_and_bitmaps() -> None:
    floor = Floor(market=list_market(price_bits=14, pool_bits=6, page_bits=6))
    floor.govern()
    first = floor.rest(0, SELL, 1000, 5, 3)
    floor.say(1, place(SELL, 1000, 9, client=4, display=2, stp=3, post=2))
    floor.rest(2, BUY, 990, 7, 5)
    words = image_of(floor)
    region = words[8512]
    assert region == END_OF_LEDGER and words[8513] == len(words) - region
    m = words[region:]
    price = 352  # 65 words above 256, padded to leaves: 321 -> 352
    assert m[0:5] == (16383 - 990, 1000, 1, 2, 0) and m[8] == 2
    assert m[32:35] == (0, 16384, 65)
    assert m[35:39] == (128, 128 + price, 128 + 2 * price, 128 + 2 * price + 256)
    assert m[39:43] == (1344, 0, 1376, 0) and m[43:46] == (1408, 1408 + 16384, 1408 + 16384 + 1024)
    assert len(m) == m[45] + 8 * 64
    leaf = m[36] + m[34] + (1000 >> 6)
    assert m[leaf] == 1 << (1000 & 63)
    page = m[m[38] + (1000 >> 6)]
    assert page == 1
    level = m[43] + 256 * page + 4 * (1000 & 63)
    assert m[level : level + 4] == (1, 2, 7, 2)
    assert m[m[39]] == 0b111 and m[m[41]] == 0b1111
    order = m[44] + 16 * 2
    assert m[order] == 1 << 32 | 1 | SELL << 1 | 3 << 2 | 2 << 5
    assert m[order + 1] == 3 | 1 << 40
    assert m[order + 2 : order + 11] == (1000, 2, 7, 0, 1, 1 << 53, 2, 9, 4)
    assert m[m[44] + 16 + 5] == 2 and first == 1 << 24 | 1
    assert words[TABLES_AT + 4 * 64 + 3] == 1 + 2
    trader = m[45] + 8 * 3
    assert m[trader : trader + 6] == (0, 0, 0, 0, 1, 0)
    assert m[64:68] == (1 << 20,) * 4


def test_a_freed_slot_keeps_its_generation_and_nothing_else() -> None:
    floor = Floor(market=list_market(pool_bits=6, page_bits=6))
    floor.rest(0, SELL, 1000, 5, 3)
    floor.say(1, place(BUY, 1000, 5, client=1))
    words = image_of(floor)
    m = words[words[8512] :]
    pool = m[44] + 16
    assert m[pool : pool + 16] == (1 << 32, *(0,) * 15)
    assert m[0:4] == (16384, 16384, 0, 0)
    assert m[m[39]] == 1 and m[m[41]] == 1
    assert m[4:9] == (1000, 1, 5, 15_000, 0)
    assert not any(m[128 : m[39]])


def test_a_full_bitmap_word_is_said_above_and_any_bit_in_price_bitmaps() -> None:
    full = bitmap(range(64), 12, any_below=False)
    assert full == {1: (1 << 64) - 1, 0: 1}
    assert bitmap(range(63), 12, any_below=False) == {1: (1 << 63) - 1}
    assert bitmap([70], 12, any_below=True) == {2: 1 << 6, 0: 2}
    assert bitmap([70], 6 + 6 + 1, any_below=True) == {66: 1 << 6, 1: 2, 0: 1}
    assert [words_above(bits) for bits in (6, 7, 12, 13, 28)] == [0, 1, 1, 65, 266_305]


def test_buy_levels_are_keyed_from_the_top() -> None:
    floor = Floor(market=list_market(price_bits=6, pool_bits=6, page_bits=6))
    floor.rest(0, BUY, 62, 1, 1)
    words = image_of(floor)
    m = words[words[8512] :]
    assert m[0] == 1 and m[m[35]] == 2 and m[m[37]] == 1
