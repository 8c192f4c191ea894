"""The leader's way to a block: what `add` refuses leaves no trace, what fails takes all back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from signed_chain import (
    FIRST_OWNER,
    USD,
    Signed,
    SignedChain,
    address,
    fingerprint,
    owner,
    private_key,
)

from consensus import block as body
from consensus import commands, layout, proposal, transition
from consensus.authority import NOT_VERIFIED, VerifiedGroup, context_of, verify_groups
from consensus.commands import Group
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock
from consensus.execute import execute as real_execute
from consensus.layout import KEY_DEPOSIT, KEY_FORCED
from consensus.proposal import LISTING_ROOM, PROPOSAL_CLOSED, Proposal
from consensus.sealing import results_of as real_results_of
from consensus.signatures import address_words, recover_many, sign
from consensus.transition import BLOCK_OPEN, CORE_EXCEPTION, apply_block

A, B = FIRST_OWNER, FIRST_OWNER + 1
ROW: Final = commands.settings(1)
SMALL_MARKET: Final = commands.operation(
    layout.OP_LIST_MARKET, 0 | 1 << 8 | 6 << 16 | 6 << 24 | 6 << 32, 1, 1, 0, 100, 9 << 20, 0
)

NEW_ASSET: Final = commands.operation(layout.OP_LIST_ASSET, 0x45 << 48, 2, 1)


@pytest.fixture
def chain() -> SignedChain:
    return SignedChain()


def grant(chain: SignedChain, slot: int = 1) -> bytes:
    expires = chain.genesis.time + 10**8
    who = address(f"session {A} {slot}")
    return commands.grant(slot, who, expires=expires, cap=10**9, markets=1, quote=USD)


def refused(open_block: Proposal, chain: SignedChain, group: VerifiedGroup) -> ConsensusError:
    """The refusal of `group`; words, dirty leaves and events are then as before."""
    before = fingerprint(chain.leader)
    with pytest.raises(ConsensusError) as caught:
        open_block.add(group)
    assert fingerprint(chain.leader) == before
    return caught.value


def test_a_refused_group_is_not_in_the_block_and_the_block_goes_on(chain: SignedChain) -> None:
    good = chain.verified([chain.group(A, [ROW]), chain.group(B, [commands.deadman(0)])])
    bad = chain.verified(
        [chain.group(A, [ROW], nonce=1), chain.group(B, [ROW], expires=chain.genesis.time)]
    )
    open_block = Proposal(chain.leader, chain.opening(), chain.deposit("x", USD, 5))
    open_block.add(good[0])
    assert refused(open_block, chain, bad[0]).number == layout.NONCE_USED
    assert refused(open_block, chain, bad[1]).number == layout.GROUP_EXPIRED
    open_block.add(good[1])
    block, _ = open_block.seal()
    assert block.commands == good[0].group.rows + good[1].group.rows
    apply_block(chain.follower, block)


def test_a_group_waits_for_the_next_block_if_its_key_was_granted_in_this_one(
    chain: SignedChain,
) -> None:
    chain.step([chain.group(A, [grant(chain)])])
    group, again = chain.verified([chain.group(A, [ROW], key=1), chain.group(A, [grant(chain)])])
    open_block = Proposal(chain.leader, chain.opening())
    open_block.add(again)
    assert refused(open_block, chain, group).number == transition.SIGNATURE
    open_block.abandon()
    forced = chain.forced(owner(A), grant(chain))
    open_block = Proposal(chain.leader, chain.opening(), forced)
    assert refused(open_block, chain, group).number == transition.SIGNATURE
    open_block.seal()


def test_a_group_verified_before_a_revocation_is_refused_after_it(chain: SignedChain) -> None:
    chain.step([chain.group(A, [grant(chain)])])
    (group,) = chain.verified([chain.group(A, [ROW], key=1)])
    chain.step([chain.group(A, [commands.revoke(1)])])
    chain.step([chain.group(A, [grant(chain)])])
    open_block = Proposal(chain.leader, chain.opening())
    assert refused(open_block, chain, group).number == transition.SIGNATURE


def test_a_name_given_after_signing_asks_for_a_new_signature(chain: SignedChain) -> None:
    """What a wallet showed by number has a name now: the digest is another one."""
    withdrawal = commands.withdraw(2, 5, address("home"))
    (group,) = chain.verified([chain.group(A, [withdrawal], nonce=1)])
    chain.step([chain.govern(NEW_ASSET)])
    open_block = Proposal(chain.leader, chain.opening())
    assert refused(open_block, chain, group).number == transition.SIGNATURE
    open_block.add(*chain.verified([chain.group(A, [withdrawal], nonce=1)]))


def test_a_name_given_in_this_block_counts_from_the_next_one(chain: SignedChain) -> None:
    """Verified behind the listing, the group was signed over a name that followers do not have."""
    (listing,) = chain.verified([chain.govern(NEW_ASSET)])
    open_block = Proposal(chain.leader, chain.opening())
    open_block.add(listing)
    withdrawal = chain.group(A, [commands.withdraw(2, 5, address("home"))])
    (group,) = chain.verified([withdrawal])
    assert refused(open_block, chain, group).number == transition.SIGNATURE
    block, _ = open_block.seal()
    apply_block(chain.follower, block)
    chain.step([withdrawal])


def test_a_name_of_an_abandoned_block_is_no_name(chain: SignedChain) -> None:
    """Another asset has that number now: there are as many names, and not the same ones."""
    (listing,) = chain.verified([chain.govern(NEW_ASSET)])
    open_block = Proposal(chain.leader, chain.opening())
    open_block.add(listing)
    (group,) = chain.verified([chain.group(A, [commands.withdraw(2, 5, address("home"))])])
    open_block.abandon()
    chain.step([chain.govern(commands.operation(layout.OP_LIST_ASSET, 0x46 << 48, 2, 1), nonce=9)])
    open_block = Proposal(chain.leader, chain.opening())
    assert refused(open_block, chain, group).number == transition.SIGNATURE


def test_a_market_is_listed_only_in_a_block_that_was_opened_with_room(chain: SignedChain) -> None:
    (group,) = chain.verified([chain.govern(SMALL_MARKET)])
    open_block = Proposal(chain.leader, chain.opening())
    assert refused(open_block, chain, group).number == LISTING_ROOM
    open_block.abandon()
    words = len(chain.leader.memory.tree.regions)
    chain.step([(group.group, group.signature)], listing_room=1 << 16)
    assert len(chain.follower.memory.tree.regions) == words + 1
    chain.step([chain.group(A, [commands.cancel_all(1)])])


def test_an_abandoned_listing_leaves_no_region_behind(chain: SignedChain) -> None:
    (group,) = chain.verified([chain.govern(SMALL_MARKET)])
    before = fingerprint(chain.leader)
    open_block = Proposal(chain.leader, chain.opening(), listing_room=1 << 16)
    open_block.add(group)
    open_block.abandon()
    assert fingerprint(chain.leader) == before
    block = chain.propose([(group.group, group.signature)], listing_room=1 << 16)[0]
    wrong = replace(block, header=replace(block.header, state_root=bytes(32)))
    before = fingerprint(chain.follower)
    with pytest.raises(InvalidBlock):
        apply_block(chain.follower, wrong)
    assert fingerprint(chain.follower) == before
    apply_block(chain.follower, block)


def test_a_replayed_listing_allocates_nothing_that_grows(chain: SignedChain) -> None:
    """A group that anybody can copy must not make others reserve memory again and again."""
    signed = chain.govern(SMALL_MARKET)
    chain.step([signed], listing_room=1 << 16)
    sizes = set()
    for _ in range(3):
        wrong = replace(
            chain.blocks[-1],
            header=replace(
                chain.blocks[-1].header,
                height=chain.follower.head.height + 1,
                parent=chain.follower.head_hash,
                time=chain.follower.head.time + 1,
            ),
        )
        with pytest.raises(ConsensusError) as caught:
            apply_block(chain.follower, wrong)
        assert caught.value.number == layout.NONCE_USED
        sizes.add(len(chain.follower.memory.M))
    assert len(sizes) == 1


def test_a_block_takes_as_many_rows_as_it_may_and_not_one_more(
    chain: SignedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal, "ROWS_MAX", 2 + 3 + 4)
    one, two, three = chain.verified(
        [chain.group(A, [ROW] * 2), chain.group(A, [ROW] * 4), chain.group(A, [ROW] * 3)]
    )
    open_block = Proposal(chain.leader, chain.opening(), chain.deposit("x", USD, 5))
    open_block.add(one)
    assert refused(open_block, chain, two).number == body.BODY_SHAPE
    open_block.add(three)
    open_block.seal()


def test_more_than_64_messages_are_kept_back(chain: SignedChain) -> None:
    messages = b"".join(chain.deposit(owner(A), USD, 5) for _ in range(body.MESSAGES_MAX + 1))
    before = fingerprint(chain.leader)
    with pytest.raises(InvalidBlock) as caught:
        Proposal(chain.leader, chain.opening(), messages)
    assert caught.value.number == body.BODY_SHAPE
    assert fingerprint(chain.leader) == before
    size = len(messages) // (body.MESSAGES_MAX + 1)
    chain.step([], messages[:-size])


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"time": 0}, 3004), ({"time": 1 << 52}, 3004), ({"l1_number": -1}, 3006),
        ({"l1_number": 0}, 3006), ({"l1_time": 1}, 3006),
    ],
)  # fmt: skip
def test_an_opening_that_others_would_refuse_is_refused_and_changes_nothing(
    chain: SignedChain, changes: dict[str, Any], number: int
) -> None:
    chain.step()
    before = fingerprint(chain.leader)
    with pytest.raises(InvalidBlock) as caught:
        Proposal(chain.leader, replace(chain.opening(), **changes))
    assert caught.value.number == number
    assert fingerprint(chain.leader) == before


@pytest.mark.parametrize(
    "changes", [{"round": 1 << 32}, {"proposer": 1 << 16}, {"l1_hash": b"short"}]
)
def test_a_header_that_has_no_bytes_is_found_at_sealing_and_the_block_taken_back(
    chain: SignedChain, changes: dict[str, Any]
) -> None:
    before = fingerprint(chain.leader)
    open_block = Proposal(chain.leader, replace(chain.opening(), **changes))
    open_block.add(*chain.verified([chain.group(A, [ROW], nonce=1)]))
    with pytest.raises(ConsensusError) as caught:
        open_block.seal()
    assert 1001 <= caught.value.number <= 1016
    assert fingerprint(chain.leader) == before
    chain.step([chain.group(A, [ROW])])


def test_a_message_that_is_not_the_next_one_opens_no_block(chain: SignedChain) -> None:
    chain.queued = 5
    before = fingerprint(chain.leader)
    with pytest.raises(ConsensusError) as caught:
        Proposal(chain.leader, chain.opening(), chain.deposit("x", USD, 5))
    assert caught.value.number == layout.L1_ORDER
    assert fingerprint(chain.leader) == before


@pytest.mark.parametrize("kind", [IndexError, MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["open", "add", "seal"])
def test_a_fault_of_the_core_takes_the_whole_block_back(
    chain: SignedChain, monkeypatch: pytest.MonkeyPatch, where: str, kind: type[BaseException]
) -> None:
    one, two = chain.verified([chain.group(A, [ROW]), chain.group(B, [ROW])])
    before = fingerprint(chain.leader)
    message = chain.deposit("x", USD, 5)

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            real(*arguments)
            raise kind("injected")

        return run

    with monkeypatch.context() as patch:
        if where == "open":
            patch.setattr(transition, "execute", failing(real_execute))
            with pytest.raises((CoreFault, KeyboardInterrupt)) as caught:
                Proposal(chain.leader, chain.opening(), message)
        elif where == "add":
            open_block = Proposal(chain.leader, chain.opening(), message)
            open_block.add(one)
            patch.setattr(transition, "execute", failing(real_execute))
            with pytest.raises((CoreFault, KeyboardInterrupt)) as caught:
                open_block.add(two)
        else:
            open_block = Proposal(chain.leader, chain.opening(), message)
            open_block.add(one)
            patch.setattr(proposal, "results_of", failing(real_results_of))
            with pytest.raises((CoreFault, KeyboardInterrupt)) as caught:
                open_block.seal()
    if isinstance(caught.value, CoreFault):
        assert caught.value.number == CORE_EXCEPTION and caught.value.__cause__ is not None
    assert fingerprint(chain.leader) == before
    chain.step([(one.group, one.signature), (two.group, two.signature)], message)


def test_a_block_is_over_when_it_is_sealed_or_abandoned(chain: SignedChain) -> None:
    for end in (Proposal.seal, Proposal.abandon):
        one, two = chain.verified([chain.group(A, [ROW]), chain.group(A, [ROW])])
        open_block = Proposal(chain.leader, chain.opening())
        open_block.add(one)
        end(open_block)
        assert refused(open_block, chain, two).number == PROPOSAL_CLOSED
        with pytest.raises(CoreFault) as caught:
            open_block.seal()
        assert caught.value.number == PROPOSAL_CLOSED
        other = Proposal(chain.leader, chain.opening())
        before = fingerprint(chain.leader)
        open_block.abandon()
        assert fingerprint(chain.leader) == before, "an old proposal took a new one back"
        other.abandon()


def test_one_block_is_open_at_a_time(chain: SignedChain) -> None:
    first = Proposal(chain.leader, chain.opening())
    before = fingerprint(chain.leader)
    with pytest.raises(CoreFault) as caught:
        Proposal(chain.leader, chain.opening())
    assert caught.value.number == BLOCK_OPEN
    assert fingerprint(chain.leader) == before
    first.seal()


# -- verified groups ----------------------------------------------------------------------------


def test_only_good_signatures_make_verified_groups(chain: SignedChain) -> None:
    good = chain.group(A, [ROW])
    group, signature = good
    words = address_words(address(owner(A)))
    bad: list[Signed] = [
        (group, bytes(65)),
        (group, signature[:64]),
        (group, signature[:64] + b"\2"),
        (group._replace(nonce=2), signature),
        (group._replace(signer=address_words(address(owner(B)))), signature),
        (group._replace(signer=(-1, 0, 0)), signature),
        (group._replace(key=KEY_DEPOSIT), signature),
        (group._replace(key=KEY_FORCED), signature),
        (group._replace(key=9), signature),
        (group._replace(nonce=-1), signature),
        (group._replace(operations=b""), signature),
        (Group(1, 1 << 40, 1, 1, words, ROW), sign(private_key(owner(A)), bytes(32))),
    ]
    verified = verify_groups(chain.leader, [good, *bad, good], recover_many)
    assert [entry is not None for entry in verified] == [True, *[False] * len(bad), True]


def test_a_verified_group_cannot_be_made_by_hand(chain: SignedChain) -> None:
    group, signature = chain.group(A, [ROW])
    for maker in (None, object(), True):
        with pytest.raises(CoreFault) as caught:
            VerifiedGroup(maker, group, signature, bytes(32), context_of(chain.leader))
        assert caught.value.number == NOT_VERIFIED
