"""The settlement contract against a real Rialto chain: honest calls work, lies have a reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from bridge_chain import (
    DEADLINE,
    DELAY,
    ETH,
    FREEZE_AFTER,
    OWNERS,
    SCALE,
    USD,
    WINDOW,
    Bridge,
    token_call,
    validators,
)  # fmt: skip
from eth_abi import encode
from l1_wallets import reason, sidecar_of
from signed_chain import address

from consensus.block import queue_hash
from consensus.commands import grant, withdraw
from consensus.keccak import keccak256
from consensus.rollup.batch import batch_hash
from consensus.signatures import address_words
from node.l1 import contract as law
from node.l1.surface import L1Error

ALICE, BOB = OWNERS[0], OWNERS[1]
ALICE_ACCOUNT = 2
OTHER = b"\x05" * 32


@contextmanager
def refused(text: str) -> Iterator[None]:
    with pytest.raises(L1Error) as caught:
        yield
    assert reason(caught.value) == text


def traded(bridge: Bridge, *, withdrawn: int = 100) -> Bridge:
    """Alice has 1,000 USD and 500 ETH atoms less what she withdraws to Bob; nothing is posted."""
    bridge.deposit(ALICE, USD, 1000)
    bridge.deposit(ALICE, ETH, 500)
    bridge.block()
    bridge.block(bridge.withdrawal(ALICE_ACCOUNT, USD, withdrawn, address(BOB)))
    return bridge


def test_a_deposit_is_traded_posted_finalized_and_withdrawn_once() -> None:
    bridge = traded(Bridge())
    bridge.settle()
    before = bridge.tokens(address(BOB))
    bridge.withdraw(1, 0)
    assert bridge.tokens(address(BOB)) == before + 100 * SCALE[USD]
    assert bridge.held(USD) == 900
    with refused("claimed"):
        bridge.withdraw(1, 0)


def test_the_queue_hash_on_l1_is_the_one_that_every_header_carries() -> None:
    bridge = Bridge()
    bridge.deposit(ALICE, ETH, 7)
    bridge.do(ALICE, "force", withdraw(ETH, 3, address(BOB)), value=law.FORCE_FEE_WEI)
    bridge.deposit(BOB, USD, 2**33 + 1)
    running = bytes(32)
    for item in bridge.items:
        running = queue_hash(running, item.rows)
        assert running == item.queue_hash
    bridge.block()
    assert bridge.chain.leader.head.l1_queue_hash == running
    assert bridge.chain.leader.head.l1_messages == 3


def test_many_withdrawals_at_every_place_of_the_stream_are_paid() -> None:
    bridge = Bridge()
    bridge.deposit(ALICE, ETH, 10**6)
    bridge.block()
    sent = [bridge.withdrawal(ALICE_ACCOUNT, ETH, 10 + n, address(BOB)) for n in range(21)]
    bridge.block(*sent)
    bridge.settle()
    for place in (0, 3, 4, 15, 16, 20):
        before = bridge.wallets.balance(BOB)
        bridge.withdraw(1, place)
        assert bridge.wallets.balance(BOB) == before + (10 + place) * SCALE[ETH]
    for at, value, text in (
        (2, 21 * 64 + 256, "root"), (3, 21, "place"), (3, 1, "root"), (2, 0, "place"),
    ):  # fmt: skip
        arguments = bridge.withdraw_arguments(1, 5)
        arguments[at] = value
        with refused(text):
            bridge.do("stranger", "withdraw", *arguments)
    arguments = bridge.withdraw_arguments(1, 20)
    arguments[3] = 21  # behind the end, in the padding of the last leaf
    with refused("place"):
        bridge.do("stranger", "withdraw", *arguments)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 2}, "version"), ({"number": 2}, "number"), ({"number": 0}, "number"),
        ({"parent_hash": OTHER}, "parent"), ({"pre_state_root": OTHER}, "root"),
        ({"first_height": 2}, "height"), ({"last_height": 0}, "height"),
        ({"l1_queue_hash": OTHER}, "queue hash"), ({"l1_messages": 3}, "messages"),
        ({"post_state_root": OTHER}, "signature"), ({"withdrawals_root": OTHER}, "signature"),
        ({"payload_hash": OTHER}, "signature"), ({"validators_hash": OTHER}, "signature"),
        ({"l1_hash": OTHER}, "signature"), ({"last_hash": OTHER}, "signature"),
    ],
)  # fmt: skip
def test_a_batch_that_does_not_continue_the_chain_or_was_not_signed_is_refused(
    changes: dict[str, Any], text: str
) -> None:
    bridge = traded(Bridge())
    honest, _ = bridge.batch()
    signed = bridge.attested(honest)
    with refused(text):
        bridge.commit(batch=replace(honest, **changes), place=bridge.place(honest), signed=signed)


def test_a_signature_is_bound_to_chain_contract_mode_epoch_and_blobs() -> None:
    bridge = traded(Bridge())
    batch, _ = bridge.batch()
    chain = bridge.wallets.l1.chain.chain_id
    right = (chain, bridge.address, law.QUORUM, 1)
    for wrong in (
        (chain + 1, *right[1:]), (chain, address("other"), *right[2:]),
        (*right[:2], law.VALIDITY, 1), (*right[:3], 2),
    ):  # fmt: skip
        text = law.attestation(*wrong, batch_hash(batch))
        with refused("signature"):
            bridge.commit(signed=law.signed_by(text, list(bridge.members), bridge.members))
    with refused("signature"):
        bridge.commit(sidecar=sidecar_of(b"another payload"))
    with refused("blobs"):
        bridge.commit(sidecar=None)


def test_less_than_a_quorum_a_member_twice_and_foreign_members_are_refused() -> None:
    bridge = traded(Bridge())
    batch, _ = bridge.batch()
    with refused("quorum"):
        bridge.commit(signed=bridge.attested(batch, signers=2))
    full = bridge.attested(batch)
    twice = replace(full, signatures=(full.signatures[0],) * 3)
    with refused("signature"):
        bridge.commit(signed=twice)
    with refused("signature"):
        bridge.commit(signed=replace(full, signatures=full.signatures + full.signatures[:1]))
    foreign = validators(prefix="thief")
    bridge.members, kept = foreign, bridge.members
    signed = bridge.attested(batch, signers=4)
    bridge.members = kept
    with refused("committee"):
        bridge.commit(signed=signed)


def test_items_of_another_queue_do_not_fit_a_signed_batch() -> None:
    """A reorganisation that replaces a deposit makes the commit revert."""
    bridge = Bridge()
    bridge.deposit(ALICE, ETH, 100)
    bridge.block()
    batch, _ = bridge.batch()
    place, signed = bridge.place(batch), bridge.attested(batch)
    bridge.wallets.l1.chain.reorganise(1, keep_dropped=False)
    bridge.items.clear()
    bridge.deposit(ALICE, ETH, 99)
    for one in (place, bridge.place(batch)):
        with refused("queue hash"):
            bridge.commit(place=one, signed=signed)


def test_an_item_past_its_deadline_cannot_be_skipped() -> None:
    bridge = traded(Bridge())
    bridge.do(ALICE, "force", withdraw(ETH, 3, address(BOB)), value=law.FORCE_FEE_WEI)
    with refused("next item"):
        batch, _ = bridge.batch()
        bridge.commit(place=replace(bridge.place(batch), next_time=2**40))
    bridge.later(DEADLINE + 1)
    with refused("expired item"):
        bridge.commit()
    bridge.block()
    bridge.commit()
    assert bridge.read("committed") == 1


def test_finality_waits_for_its_window_and_its_turn() -> None:
    bridge = traded(Bridge())
    bridge.commit()
    with refused("not final"):
        bridge.withdraw(1, 0)
    with refused("window"):
        bridge.finalize(1)
    bridge.block()
    bridge.commit(b"second")
    bridge.later(WINDOW)
    with refused("number"):
        bridge.finalize(2)
    with refused("summary"):
        bridge.do("stranger", "finalize", 1, bridge.summaries[2])
    bridge.finalize()
    bridge.finalize()
    with refused("number"):
        bridge.do("stranger", "finalize", 3, bridge.summaries[2])


def test_the_guardian_and_only_he_takes_back_a_batch_inside_its_window() -> None:
    bridge = traded(Bridge())
    first = bridge.commit()
    bridge.block()
    second = bridge.commit(b"second")
    with refused("guardian"):
        bridge.do("operator", "revert_by_guardian", 1, first.summary)
    bridge.do("guardian", "revert_by_guardian", 1, first.summary)
    assert bridge.read("committed") == 0
    with refused("number"):
        bridge.do("guardian", "revert_by_guardian", 2, second.summary)
    with refused("number"):
        bridge.do("stranger", "finalize", 1, first.summary)
    del bridge.summaries[1:], bridge.posted[1:]
    bridge.blocks_posted = 0
    bridge.settle()
    with refused("window"):
        bridge.do("guardian", "revert_by_guardian", 1, bridge.summaries[1])
    bridge.withdraw(1, 0)


def test_deposits_that_l2_would_refuse_are_refused() -> None:
    bridge = Bridge()
    for value, text in ((0, "amount"), (SCALE[ETH] + 1, "amount"), (SCALE[ETH] // 2, "amount")):
        with refused(text):
            bridge.do(ALICE, "deposit", ETH, value=value)
    with refused("asset"):
        bridge.do(ALICE, "deposit", 2, value=1)
    with refused("token"):
        bridge.do(ALICE, "deposit", USD, value=1)
    with refused("token"):
        bridge.do(ALICE, "deposit_token", ETH, 1)
    huge = 2**62 * SCALE[USD]
    bridge.wallets.do("operator", bridge.token, token_call("mint", address(ALICE), 3 * huge))
    with refused("supply"):
        bridge.do(ALICE, "deposit_token", USD, huge)
    bridge.do(ALICE, "deposit_token", USD, huge - SCALE[USD])
    with refused("supply"):
        bridge.deposit(ALICE, USD, 1)


def test_a_token_that_keeps_a_tax_or_refuses_is_not_credited() -> None:
    bridge = Bridge()
    bridge.wallets.do("operator", bridge.token, token_call("set_tax", 1))
    with refused("received"):
        bridge.deposit(ALICE, USD, 5)
    bridge.wallets.do("operator", bridge.token, token_call("set_refuses", True))
    with refused("transfer"):
        bridge.deposit(ALICE, USD, 5)
    assert bridge.held(USD) == 0


def test_forced_commands_have_whole_rows_and_a_price() -> None:
    bridge = Bridge()
    row = withdraw(ETH, 1, address(BOB))
    for rows in (b"", row[1:], row + row[:32]):
        with refused("rows"):
            bridge.do(ALICE, "force", rows, value=law.FORCE_FEE_WEI)
    with refused("fee"):
        bridge.do(ALICE, "force", row)
    bridge.do(ALICE, "force", row * 8, value=law.FORCE_FEE_WEI)
    before = bridge.wallets.balance("governor")
    bridge.do("stranger", "collect_fees")
    assert bridge.wallets.balance("governor") == before + law.FORCE_FEE_WEI


def frozen(bridge: Bridge) -> Bridge:
    """Batch 1 is final, batch 2 committed, one deposit of Bob not consumed; then frozen."""
    traded(bridge)
    bridge.settle()
    bridge.deposit(BOB, ETH, 70)
    bridge.later(FREEZE_AFTER)
    with refused("early"):
        bridge.freeze()
    bridge.later(2)
    return bridge


def test_a_frozen_chain_pays_exits_refunds_and_old_withdrawals_to_the_last_atom() -> None:
    bridge = frozen(Bridge())
    bridge.freeze()
    bridge.do("stranger", "exit", *bridge.exit_arguments(ALICE_ACCOUNT, USD))
    bridge.do("stranger", "exit", *bridge.exit_arguments(ALICE_ACCOUNT, ETH))
    bridge.withdraw(1, 0)
    before = bridge.wallets.balance(BOB)
    bridge.do("stranger", "refund", *bridge.refund_arguments(2))
    assert bridge.wallets.balance(BOB) == before + 70 * SCALE[ETH]
    assert (bridge.held(USD), bridge.held(ETH)) == (0, 0)
    assert (bridge.balance(), bridge.tokens(bridge.address)) == (0, 0)


def test_every_second_payment_after_a_freeze_reverts() -> None:
    """A prototype paid 201 for a balance of 101: exit, finalize on, exit again."""
    bridge = frozen(Bridge())
    bridge.block(bridge.withdrawal(ALICE_ACCOUNT, ETH, 20, address(BOB)))
    second = bridge.commit(b"second")
    bridge.freeze()
    assert (bridge.read("committed"), bridge.read("finalized")) == (1, 1)
    for function, arguments in (
        ("finalize", (2, second.summary)),
        ("revert_by_guardian", (2, second.summary)),
        ("freeze", (bridge.summaries[1], bridge.items[2].queue_hash, bridge.items[2].time)),
    ):
        with refused("guardian" if "guardian" in function else "frozen"):
            bridge.do("stranger", function, *arguments)
    with refused("frozen"):
        bridge.deposit(ALICE, ETH, 1)
    with refused("not final"):
        bridge.withdraw(2, 0)
    later = bridge.exit_arguments(ALICE_ACCOUNT, ETH, second.summary)
    with refused("summary"):
        bridge.do("stranger", "exit", *later)
    with refused("root"):
        bridge.do("stranger", "exit", bridge.summaries[1], *later[1:])


def test_an_exit_pays_once_for_each_account_and_asset_whoever_asks() -> None:
    bridge = frozen(Bridge())
    arguments = bridge.exit_arguments(ALICE_ACCOUNT, USD)
    with refused("not frozen"):
        bridge.do("stranger", "exit", *arguments)
    bridge.freeze()
    before = bridge.tokens(address(ALICE))
    bridge.do("stranger", "exit", *arguments)
    assert bridge.tokens(address(ALICE)) == before + 900 * SCALE[USD]
    with refused("exited"):
        bridge.do(ALICE, "exit", *arguments)
    other = bridge.exit_arguments(ALICE_ACCOUNT, ETH)
    for at, value, text in (
        (1, 3, "account"), (2, USD, "exited"), (2, 4, "asset"), (3, other[3][:-45], "root"),
        (3, other[3][1:], "regions"), (4, other[6], "account"), (6, other[4], "balance"),
        (5, other[5][:-1], "depth"), (7, other[5], "balance"),
    ):  # fmt: skip
        wrong = list(other)
        wrong[at] = value
        with refused(text):
            bridge.do("stranger", "exit", *wrong)
    # Alice's account with the index of the next account's first balance is not hers.
    wrong = bridge.exit_arguments(ALICE_ACCOUNT, ETH)
    wrong[1] = 2**200 + ALICE_ACCOUNT
    with pytest.raises(L1Error):
        bridge.do("stranger", "exit", *wrong)
    bridge.do("stranger", "exit", *other)


def test_a_session_key_is_no_account_and_an_order_table_no_balance() -> None:
    """Behind the accounts lie leaves that begin with an address which a user chose."""
    bridge = traded(Bridge())
    expires = bridge.chain.leader.head.time + 10**6
    row = grant(slot=1, address=address("session"), expires=expires, cap=1, markets=1, quote=0)
    bridge.block(bridge.chain.group(ALICE_ACCOUNT, [row]))
    bridge.settle()
    bridge.deposit(BOB, ETH, 70)
    bridge.later(FREEZE_AFTER + 2)
    bridge.freeze()
    # Keys 4 a + slot - 1, two to a leaf: Alice's first is in leaf 4 of the keys.
    beyond = bridge.settings.accounts_max + 4
    arguments = bridge.exit_arguments(beyond, ETH)
    assert arguments[4][:8] == address_words(address("session"))[0].to_bytes(8, "little")
    with refused("account"):
        bridge.do("stranger", "exit", *arguments)


def test_a_refund_is_for_deposits_that_were_not_consumed_and_only_once() -> None:
    bridge = frozen(Bridge())
    with refused("not frozen"):
        bridge.do(BOB, "refund", *bridge.refund_arguments(2))
    bridge.freeze()
    with refused("index"):
        bridge.do(ALICE, "refund", *bridge.refund_arguments(1))
    right = bridge.refund_arguments(2)
    for at, value in ((2, OTHER), (3, 1), (4, address(ALICE)), (5, USD), (6, 71)):
        wrong = list(right)
        wrong[at] = value
        with refused("item"):
            bridge.do(BOB, "refund", *wrong)
    bridge.do(BOB, "refund", *right)
    with refused("refunded"):
        bridge.do(BOB, "refund", *right)


def test_a_forced_command_freezes_a_chain_that_never_finalizes_it() -> None:
    """Consumed by a committed batch is not enough: only finality counts."""
    bridge = Bridge()
    bridge.do(ALICE, "force", withdraw(ETH, 3, address(BOB)), value=law.FORCE_FEE_WEI)
    bridge.block()
    bridge.commit()
    bridge.later(FREEZE_AFTER + 1)
    bridge.freeze()
    assert bridge.read("committed") == 0


def test_the_committee_changes_by_its_own_certificate_and_stale_signatures_die() -> None:
    bridge = traded(Bridge())
    stale = bridge.attested(bridge.batch()[0])
    heirs = validators(7, "heir")
    chain = bridge.wallets.l1.chain.chain_id
    text = law.succession(chain, bridge.address, 1, list(heirs))
    few = law.signed_by(text, list(bridge.members), dict(list(bridge.members.items())[:2]))
    with refused("quorum"):
        bridge.do("stranger", "change_committee", list(heirs), few)
    signed = law.signed_by(text, list(bridge.members), bridge.members)
    for wrong in ([], list(heirs)[::-1], [next(iter(heirs))] * 2):
        other = law.succession(chain, bridge.address, 1, wrong)
        with refused("members"):
            bad = law.signed_by(other, list(bridge.members), bridge.members)
            bridge.do("stranger", "change_committee", wrong, bad)
    bridge.do("stranger", "change_committee", list(heirs), signed)
    with refused("committee"):
        bridge.do("stranger", "change_committee", list(heirs), signed)
    with refused("committee"):
        bridge.commit(signed=stale)
    bridge.members, bridge.epoch = heirs, 2
    with refused("quorum"):
        bridge.commit(signed=bridge.attested(bridge.batch()[0], signers=4))
    bridge.commit(signed=bridge.attested(bridge.batch()[0], signers=5))


def test_governance_waits_out_its_delay_which_is_longer_than_the_way_out() -> None:
    bridge = Bridge()
    action = keccak256(
        encode(["string", "uint256", "address", "uint256"], ["list", 2, address("new token"), 7])
    )
    change = ("list_asset", 2, address("new token"), 7)
    with refused("scheduled"):
        bridge.do("governor", *change)
    with refused("governor"):
        bridge.do("operator", "schedule", action)
    bridge.do("governor", "schedule", action)
    with refused("delay"):
        bridge.do("governor", *change)
    bridge.later(DELAY)
    with refused("scheduled"):
        bridge.do("governor", "list_asset", 2, address("other token"), 7)
    bridge.do("stranger", *change)
    with refused("scheduled"):
        bridge.do("stranger", *change)
    bridge.do("governor", "schedule", action)
    bridge.do("guardian", "cancel", action)
    bridge.later(DELAY)
    with refused("scheduled"):
        bridge.do("governor", *change)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": 0}, "mode"), ({"mode": 4}, "mode"), ({"mode": 2}, "verifier"),
        ({"mode": 3}, "verifier"), ({"window_s": 0}, "window"),
        ({"freeze_after_s": WINDOW + DEADLINE}, "freeze after"), ({"delay_s": 9}, "delay"),
        ({"assets_max": 1}, "assets max"),
    ],
)  # fmt: skip
def test_settings_under_which_nobody_could_leave_are_not_deployed(
    changes: dict[str, int], text: str
) -> None:
    bridge = Bridge()
    settings = replace(bridge.settings, **changes)
    data = law.deployment(
        settings, bridge.summaries[0], [address("a")], address("b"), address("c"), []
    )
    receipt = bridge.wallets.receipt(bridge.wallets.send("operator", b"", data, gas=9_000_000))
    assert receipt is not None
    assert receipt["status"] == "0x0", text


def test_no_verifier_can_be_named_not_even_one_that_exists() -> None:
    """No real verifier is known to the contract yet, so nothing can pass for one."""
    bridge = Bridge()
    for mode, verifier in ((1, bridge.token), (2, bridge.token), (3, bridge.address)):
        data = law.deployment(
            replace(bridge.settings, mode=mode), bridge.summaries[0], [address("a")],
            address("b"), address("c"), [], verifier,
        )  # fmt: skip
        receipt = bridge.wallets.receipt(bridge.wallets.send("operator", b"", data, gas=9_000_000))
        assert receipt is not None
        assert receipt["status"] == "0x0"
