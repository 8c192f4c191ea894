"""What a wallet shows: every row has words, words that differ where rows differ, and one digest."""

import json
from functools import lru_cache
from pathlib import Path
from struct import pack, unpack
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_chain import SignedChain, address

from consensus import commands, layout, typed_data, wording
from consensus.keccak import keccak256
from consensus.signatures import address_words
from consensus.typed_data import Domain, Operation
from consensus.wording import Names, render

OWNER = address("owner 2")
DOMAIN = Domain(1337, bytes(range(20)), bytes(range(100, 132)))
SEPARATOR = typed_data.domain_separator(DOMAIN)
OPERATIONS = [value for name, value in vars(layout).items() if name.startswith("OP_")]
TWICE = 1 | 0 << 8 | 6 << 16 | 6 << 24 | 6 << 32
EXTREMES = (0, 1, -1, (1 << 53) - 1, 1 << 53, (1 << 62) - 1, (1 << 63) - 1, -(1 << 63))

word64 = st.one_of(st.sampled_from(EXTREMES), st.integers(-(1 << 63), (1 << 63) - 1))
positive = st.one_of(st.sampled_from((0, 1, (1 << 53) - 1)), st.integers(0, (1 << 62) - 1))
small = st.integers(0, 5)


@lru_cache(maxsize=1)
def names() -> Names:
    """USD, BTC, a second BTC, "E\\0TH" and a second BTC-USD, as governance may list them."""
    chain = SignedChain()
    btc = int.from_bytes(b"BTC\0\0\0\0", "big")
    odd = int.from_bytes(b"E\0TH\0\0\0", "big")
    op = commands.operation
    listing = [
        op(layout.OP_LIST_ASSET, btc, 2, 1), op(layout.OP_LIST_ASSET, odd, 2, 1),
        *[op(layout.OP_LIST_MARKET, TWICE + base, 1, 1, 0, 100, 9 << 20, 0) for base in (0, 1)],
    ]  # fmt: skip
    chain.step([chain.govern(*listing)], listing_room=1 << 17)
    return Names(chain.leader.memory.M)


def shown(row: bytes) -> tuple[object, ...]:
    """The words for a row, without the row."""
    return render(row, names())[:-1]


def digest(*rows: bytes) -> bytes:
    operations = [render(row, names()) for row in rows]
    return typed_data.digest(SEPARATOR, OWNER, 7, 9, operations)


def oracle(*rows: bytes) -> bytes:
    """eth-account's digest of what a wallet is handed, through JSON text."""
    operations = [render(row, names()) for row in rows]
    message = typed_data.as_json(DOMAIN, OWNER, 7, 9, operations)
    signable = encode_typed_data(full_message=json.loads(json.dumps(message)))
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


@st.composite
def any_row(draw: st.DrawFn) -> bytes:
    """A row of a known or unknown operation, its words anything."""
    op = draw(st.one_of(st.sampled_from(OPERATIONS), st.integers(0, 255)))
    head = draw(word64) & ~255 | op
    return pack("<8q", head, *[draw(word64) for _ in range(7)])


@st.composite
def good_row(draw: st.DrawFn) -> bytes:
    """A row of legal form: what is not named for its operation is zero."""
    op = draw(st.sampled_from(OPERATIONS))
    market = draw(st.integers(0, 6))
    words = address_words(draw(st.binary(min_size=20, max_size=20)))
    number, amount, asset = draw(positive), draw(positive), draw(small)
    if op == layout.OP_PLACE:
        return commands.place(
            market, draw(st.integers(0, 1)), number, draw(small), amount,
            tif=draw(st.integers(0, 2)), kind=draw(st.integers(0, 2)),
            post=draw(st.integers(0, 2)), stp=draw(st.integers(0, 4)),
            reduce_only=draw(st.booleans()), display=draw(small), minimum=draw(small),
            expires=draw(positive),
        )  # fmt: skip
    made: dict[int, Any] = {
        layout.OP_AMEND: lambda: draw(st.sampled_from((
            commands.amend(market, number, asset, amount),
            commands.amend_client(number, asset, amount)))),
        layout.OP_CANCEL: lambda: commands.cancel(market, number),
        layout.OP_CANCEL_CLIENT: lambda: commands.cancel_client(number),
        layout.OP_CANCEL_ALL: lambda: commands.cancel_all(
            draw(st.sampled_from((market, layout.ALL_MARKETS))), number),
        layout.OP_TRANSFER: lambda: commands.transfer(number, amount, asset),
        layout.OP_WITHDRAW: lambda: commands.operation(op, asset, amount, *words),
        layout.OP_GRANT: lambda: commands.operation(
            op, *words, number, amount, draw(positive),
            draw(st.integers(1, 4)) | draw(st.integers(0, 1)) << 8 | asset << 16),
        layout.OP_REVOKE: lambda: commands.revoke(draw(st.integers(1, 4))),
        layout.OP_DEADMAN: lambda: commands.deadman(number),
        layout.OP_SETTINGS: lambda: commands.settings(draw(st.integers(1, 4))),
        layout.OP_DEPOSIT: lambda: commands.operation(op, *words, asset, amount),
        layout.OP_GOVERNOR: lambda: commands.operation(op, *words),
    }  # fmt: skip
    if op in made:
        row: bytes = made[op]()
        return row
    of_market = (layout.OP_FEES, layout.OP_MARKET_STATUS, layout.OP_MARKET_LIMITS)
    given = [draw(st.one_of(small, word64)) for _ in range(7)]
    return commands.operation(op, *given, market=market if op in of_market else 0)


@settings(max_examples=300)
@given(any_row())
def test_every_row_has_printable_words_and_the_digest_that_a_wallet_computes(row: bytes) -> None:
    operation = render(row, names())
    for text in (operation.action, operation.market, operation.side, operation.terms):
        assert text.isascii() and text.isprintable() and len(text) <= typed_data.TEXT_BYTES_MAX
    assert operation.action
    assert operation.row == row
    assert 0 <= operation.price < 1 << 63 and 0 <= operation.quantity < 1 << 63
    assert digest(row) == oracle(row)


@settings(max_examples=60)
@given(st.lists(good_row(), min_size=1, max_size=6))
def test_a_group_of_rows_has_the_digest_that_a_wallet_computes(rows: list[bytes]) -> None:
    assert digest(*rows) == oracle(*rows)


@settings(max_examples=400)
@given(any_row(), st.data())
def test_no_two_rows_have_one_digest(row: bytes, data: st.DataObject) -> None:
    at, bit = data.draw(st.integers(0, 63)), data.draw(st.integers(0, 7))
    near = row[:at] + bytes([row[at] ^ 1 << bit]) + row[at + 1 :]
    other = data.draw(any_row())
    digests = {digest(entry) for entry in {row, near, other}}
    assert len(digests) == len({row, near, other})
    assert digest(row, near) != digest(near, row)


@settings(max_examples=600)
@given(good_row(), good_row())
def test_rows_that_differ_look_different_to_a_person(one: bytes, two: bytes) -> None:
    """Not only the bytes: the words do."""
    assert (shown(one) == shown(two)) == (one == two)


@settings(max_examples=600)
@given(good_row(), st.data())
def test_a_row_that_differs_in_one_field_looks_different_to_a_person(
    row: bytes, data: st.DataObject
) -> None:
    words = list(unpack("<8q", row))
    used = [n for n in range(1, 8) if words[n]]
    if not used:
        return
    index = data.draw(st.sampled_from(used))
    words[index] -= 1 if words[index] > 0 else -1
    before, after = shown(row), shown(pack("<8q", *words))
    assert before != after or "no address" in str(after)


@pytest.mark.parametrize(
    ("asset", "text"),
    [
        (0, "USD"),
        (1, "BTC"),
        (2, "BTC (asset 2)"),
        (3, "asset 3"),
        (4, "asset 4"),
        (-1, "asset -1"),
    ],
)
def test_an_asset_is_shown_by_its_symbol_if_that_means_it_alone(asset: int, text: str) -> None:
    assert names().asset(asset) == text


@pytest.mark.parametrize(
    ("market", "text"),
    [(0, "BTC-USD"), (1, "BTC-USD (market 1)"), (2, "BTC (asset 2)-USD"), (3, "market 3"),
     (65535, "all markets")],
)  # fmt: skip
def test_a_market_is_shown_by_its_pair_if_that_means_it_alone(market: int, text: str) -> None:
    assert names().market(market) == text


def test_a_name_that_is_given_later_changes_nothing_in_names_taken_before() -> None:
    chain = SignedChain()
    before = Names(chain.leader.memory.M)
    eth = int.from_bytes(b"ETH\0\0\0\0", "big")
    chain.step([chain.govern(commands.operation(layout.OP_LIST_ASSET, eth, 2, 1))])
    assert before.asset(2) == "asset 2"
    assert Names(chain.leader.memory.M).asset(2) == "ETH"


def test_the_longest_words_of_every_operation_fit_their_limit() -> None:
    for op in range(256):
        for extreme in EXTREMES:
            row = pack("<8q", op | 0x7FFF << 48 | 0xFFFF << 32 | 0xFFFFFF << 8, *[extreme] * 7)
            operation = render(row, names())
            assert max(map(len, (operation.action, operation.market, operation.terms))) <= 256
            assert isinstance(operation, Operation)
            assert len(digest(row)) == 32


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_has_an_action_of_its_own(op: int) -> None:
    action = render(commands.operation(op), names()).action
    assert "unknown" not in action
    cancels = (layout.OP_CANCEL, layout.OP_CANCEL_CLIENT)  # these two share one
    others = [other for other in OPERATIONS if other != op and not {op, other} <= {*cancels}]
    assert action not in [render(commands.operation(other), names()).action for other in others]


def test_the_actions_and_terms_are_those_of_the_protocol_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol" / "wording.md").read_text("utf-8")
    for op in OPERATIONS:
        assert f"`{render(commands.operation(op), names()).action}`" in page
    for text in (*wording.TIFS, *wording.POSTS, *wording.STPS):
        assert f"`{text}`" in page or not text
