"""Invented owners of a flow: who sends what, which slots are free, signatures in two threads."""

import random
from struct import unpack

import pytest

from consensus import layout
from consensus.signatures import address_of, public_key_of
from node.exceptions import NodeError
from node.flow.bitstamp import Kind, Message
from node.flow.orders import ORDER_TWICE, SLOTS_USED_UP, WALLET_COUNT, Terms, Translator
from node.flow.replay import OPERATIONS_MAX, bundles
from node.flow.wallets import Signatures, wallet

SLOTS, TICKS = 32, 1 << 12
SEED = 11


def message(
    order: int, kind: Kind = Kind.LIMIT, *, buys: bool = True, post: bool = False
) -> Message:
    price = 0 if kind is Kind.CANCEL else 700
    return Message(1_000, kind, order << 20, buys, price, 5, post)


def translator(wallets: int = 8) -> Translator:
    return Translator(wallets, Terms(SLOTS, TICKS))


def test_a_wallet_is_the_same_on_every_machine_and_no_two_share_a_key() -> None:
    assert wallet(0).owner.hex() == "7e5784cfd63c47f420a38de8c43457877b66158d"
    keys = [key for n in range(50) for key in (wallet(n).owner_key, wallet(n).session_key)]
    assert len(set(keys)) == 100
    for n in range(3):
        who = wallet(n)
        assert who.owner == address_of(public_key_of(who.owner_key))
        assert who.session == address_of(public_key_of(who.session_key))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 129, 300])
def test_signatures_come_back_in_order_whatever_the_threads_do(count: int) -> None:
    wallets = [wallet(n % 5) for n in range(count)]
    digests = [n.to_bytes(32, "big") for n in range(count)]
    with Signatures() as signatures:
        jobs = [(who.session_key, digest) for who, digest in zip(wallets, digests, strict=True)]
        signed = signatures.sign(jobs)
        pairs = list(zip(digests, signed, strict=True))
        assert signatures.recover(pairs) == [who.session for who in wallets]


def test_a_bad_signature_recovers_to_none_and_disturbs_no_other() -> None:
    digests = [n.to_bytes(32, "big") for n in range(200)]
    with Signatures() as signatures:
        signed = signatures.sign([(wallet(1).owner_key, digest) for digest in digests])
        signed[77] = bytes(65)
        found = signatures.recover(list(zip(digests, signed, strict=True)))
    assert [n for n, address in enumerate(found) if address != wallet(1).owner] == [77]
    assert found[77] is None


def test_orders_that_may_take_and_orders_that_only_make_never_share_a_wallet() -> None:
    orders = translator()
    takers = {orders.row(message(n))[0] for n in range(60)}
    makers = {orders.row(message(n, post=True))[0] for n in range(100, 160)}
    assert takers == {6, 7}
    assert makers == {0, 1, 2, 3, 4, 5}


def test_a_row_says_what_the_message_says() -> None:
    orders = translator()
    _, row = orders.row(message(1, buys=False, post=True))
    head, client, price, lots = unpack("<4q", row[:32])
    assert head == layout.OP_PLACE | layout.SELL << 8 | layout.POST_REJECT << 20
    assert (price, lots) == (700, 5)
    wallet_of, cancel = orders.row(message(1, Kind.CANCEL))
    assert unpack("<2q", cancel[:16]) == (layout.OP_CANCEL_CLIENT, client)
    assert wallet_of == 1
    for buys, worst in ((True, TICKS - 2), (False, 1)):
        _, row = orders.row(message(9 + buys, Kind.MARKET, buys=buys))
        head, _, price, _ = unpack("<4q", row[:32])
        assert head & 0xF000 == layout.TIF_IOC << 12
        assert head & 0xF0000 == layout.TYPE_MARKET << 16
        assert price == worst


def test_a_slot_is_free_again_when_the_venue_cancels_and_ids_never_repeat() -> None:
    orders, rng = translator(4), random.Random(SEED)
    live: dict[int, tuple[int, int]] = {}
    seen = set()
    for n in range(1, 3000):
        if live and (rng.random() < 0.5 or len(live) > 20):
            order = rng.choice(sorted(live))
            orders.row(message(order, Kind.CANCEL))
            del live[order]
            continue
        who, row = orders.row(message(n, post=rng.random() < 0.5))
        client = unpack("<2q", row[:16])[1]
        assert client not in seen and client >= SLOTS
        assert (who, client % SLOTS) not in live.values()
        seen.add(client)
        live[n] = who, client % SLOTS


def test_a_cancel_for_an_order_that_never_came_names_an_id_that_no_order_has() -> None:
    _, row = translator().row(message(3, Kind.CANCEL))
    assert unpack("<2q", row[:16])[1] < SLOTS


def test_limits_of_the_translator_are_refused_by_number() -> None:
    orders = translator(2)
    for n in range(SLOTS):
        orders.row(message(n))
    with pytest.raises(NodeError) as full:
        orders.row(message(SLOTS))
    assert full.value.number == SLOTS_USED_UP
    with pytest.raises(NodeError) as twice:
        orders.row(message(0))
    assert twice.value.number == ORDER_TWICE
    for wallets in (-1, 0, 1, 513):
        with pytest.raises(NodeError) as few:
            translator(wallets)
        assert few.value.number == WALLET_COUNT


def test_rows_of_one_wallet_in_a_row_share_a_group_of_at_most_64() -> None:
    rows = [(0, bytes([n]) * 64) for n in range(70)] + [(1, b"x" * 64), (0, b"y" * 64)]
    groups = list(bundles(rows))
    assert [(who, len(data) // 64) for who, data in groups] == [(0, 64), (0, 6), (1, 1), (0, 1)]
    assert b"".join(data for _, data in groups) == b"".join(row for _, row in rows)
    assert OPERATIONS_MAX == 64
    assert list(bundles([])) == []
