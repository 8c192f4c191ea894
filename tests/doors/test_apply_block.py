"""`apply_block`: one test for each check, broken in just that respect, and what is left of it.

The order is that of docs/protocol/blocks.md. Every refusal must leave words, digests and head as
they were, and the honest block of the same height must still apply.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest
from signed_chain import (
    BTC,
    FIRST_OWNER,
    GROUP_LIFE_MS,
    USD,
    SignedChain,
    address,
    altered,
    by_hand,
    fingerprint,
    owner,
    private_key,
    rooted,
)

from consensus import commands, layout, transition
from consensus.block import Block, decode_block, encode_block
from consensus.commands import Group
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, NotIncludable
from consensus.layout import KEY_DEPOSIT, KEY_FORCED, KEY_OWNER
from consensus.proposal import Proposal
from consensus.signatures import address_words, sign
from consensus.transition import apply_block

DAY_MS: Final = 86_400_000
A, B = FIRST_OWNER, FIRST_OWNER + 1


@pytest.fixture
def chain() -> SignedChain:
    """A chain with a past: a session key, orders, an L1 origin, one deposit."""
    return chain_with_a_past()


def chain_with_a_past(**changes: Any) -> SignedChain:
    chain = SignedChain(**changes)
    expires = chain.genesis.time + 20 * GROUP_LIFE_MS
    grant = commands.grant(
        1, address(f"session {A} 1"), expires=expires, cap=10**12, markets=1, quote=USD
    )
    chain.step([chain.group(A, [grant])], chain.deposit("newcomer", USD, 500))
    chain.step([chain.group(B, [commands.place(0, layout.SELL, 1, 1000, 50)])])
    return chain


def honest(chain: SignedChain) -> Block:
    """The leader's next block: a trade, a withdrawal, a deposit."""
    signed = [
        chain.group(A, [commands.place(0, layout.BUY, 2, 1000, 20)], key=1),
        chain.group(B, [commands.withdraw(BTC, 70, address("home")), commands.settings(2)]),
    ]
    return chain.propose(signed, chain.deposit(owner(A), BTC, 900))[0]


def refused(chain: SignedChain, block: Block) -> ConsensusError:
    """The refusal of `block`; the follower is then as it was, to the last word and digest."""
    before = fingerprint(chain.follower)
    with pytest.raises(ConsensusError) as caught:
        apply_block(chain.follower, block)
    assert fingerprint(chain.follower) == before
    return caught.value


Change = Callable[[Block, SignedChain], Block]


def fields(**changes: Any) -> Change:
    return lambda block, _: altered(block, **changes)


def shifted(name: str, by: int) -> Change:
    return lambda block, _: altered(block, **{name: getattr(block.header, name) + by})


def after_parent(**shifts: int) -> Change:
    """Header fields relative to the parent's."""

    def change(block: Block, chain: SignedChain) -> Block:
        head = chain.follower.head
        return altered(block, **{name: getattr(head, name) + by for name, by in shifts.items()})

    return change


def body(**parts: Callable[[bytes], bytes]) -> Change:
    """Parts of the body changed, and the roots made to fit."""

    def change(block: Block, _: SignedChain) -> Block:
        changed: dict[str, Any] = {name: make(getattr(block, name)) for name, make in parts.items()}
        return rooted(replace(block, **changed))

    return change


def same_number_other_hash(block: Block, chain: SignedChain) -> Block:
    head = chain.follower.head
    return altered(block, l1_number=head.l1_number, l1_time=head.l1_time, l1_hash=b"\7" * 32)


def same_number_other_time(block: Block, chain: SignedChain) -> Block:
    head = chain.follower.head
    return altered(block, l1_number=head.l1_number, l1_time=head.l1_time + 1, l1_hash=head.l1_hash)


ROOT = b"\5" * 32
HEADER_FAULTS: Final[list[tuple[str, int, Change]]] = [
    ("version 0", 3001, fields(version=0)),
    ("version 1", 3001, fields(version=1)),
    ("version 3", 3001, fields(version=3)),
    ("height of the parent", 3002, after_parent(height=0)),
    ("a height left out", 3002, after_parent(height=2)),
    ("another parent", 3003, fields(parent=ROOT)),
    ("the parent's time", 3004, after_parent(time=0)),
    ("before the parent", 3004, after_parent(time=-1)),
    ("a day and 1 ms later", 3004, after_parent(time=DAY_MS + 1)),
    ("another validator set", 3005, fields(validators_hash=ROOT)),
    ("an older L1 block", 3006, after_parent(l1_number=-1)),
    ("an older L1 time", 3006, after_parent(l1_time=-1)),
    ("one L1 block with two hashes", 3006, same_number_other_hash),
    ("one L1 block with two times", 3006, same_number_other_time),
]
BODY_FAULTS: Final[list[tuple[str, int, Change]]] = [
    ("half a row of commands", 3007, body(commands=lambda rows: rows[:-32])),
    ("half a row of messages", 3007, body(messages=lambda rows: rows[:-1])),
    ("a signature too few", 3007, body(signatures=lambda data: data[:-65])),
    ("a signature too many", 3007, body(signatures=lambda data: data + data[:65])),
    ("a header row alone", 3007, body(commands=lambda rows: rows + rows[:64])),
    ("a group of no operations", 3007, body(commands=lambda rows: rows[:1] + b"\0" + rows[2:])),
    ("other rows", 3008, fields(commands_root=ROOT)),
    ("other signatures", 3009, fields(signatures_root=ROOT)),
    ("a changed row", 3010, body(commands=lambda rows: rows[:64 + 24] + b"\1" + rows[64 + 25:])),
    ("a changed signature", 3010, body(signatures=lambda data: data[:40] + ROOT + data[72:])),
    ("a signature without form", 3010, body(signatures=lambda data: bytes(65) + data[65:])),
    ("exchanged signatures", 3010, body(signatures=lambda data: data[65:] + data[:65])),
    ("a group under a key that signs nothing", 3010,
     body(commands=lambda rows: rows[:2] + b"\x09" + rows[3:])),
    ("a signer that is no address", 3010,
     body(commands=lambda rows: rows[:39] + b"\x80" + rows[40:])),
]  # fmt: skip
RESULT_FAULTS: Final[list[tuple[str, int, Change]]] = [
    ("an L1 message too few", 3012, shifted("l1_messages", -1)),
    ("an L1 message too many", 3012, shifted("l1_messages", 1)),
    ("another queue hash", 3013, fields(l1_queue_hash=ROOT)),
    ("another state root", 3014, fields(state_root=ROOT)),
    ("another events root", 3015, fields(events_root=ROOT)),
    ("another withdrawals root", 3016, fields(withdrawals_root=ROOT)),
    ("an operation too few", 3017, shifted("commands", -1)),
    ("an operation too many", 3017, shifted("commands", 1)),
    ("another sequence", 3018, shifted("sequence", 1)),
]
FAULTS: Final = HEADER_FAULTS + BODY_FAULTS + RESULT_FAULTS


@pytest.fixture(scope="module")
def shared() -> tuple[SignedChain, Block]:
    """A chain whose follower never moves, and its next honest block."""
    chain = chain_with_a_past()
    return chain, honest(chain)


@pytest.mark.parametrize(("_", "number", "change"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_block_broken_in_one_respect_is_refused_by_its_number_and_changes_nothing(
    shared: tuple[SignedChain, Block], _: str, number: int, change: Change
) -> None:
    chain, block = shared
    error = refused(chain, change(block, chain))
    assert error.number == number
    assert isinstance(error, InvalidBlock)
    assert str(error).startswith(f"E{number}: ")


def test_after_all_these_refusals_the_honest_block_applies(chain: SignedChain) -> None:
    block = honest(chain)
    for _, number, change in FAULTS:
        assert refused(chain, change(block, chain)).number == number
    apply_block(chain.follower, block)
    assert (chain.follower.head, chain.follower.head_hash) == (
        chain.leader.head,
        chain.leader.head_hash,
    )
    assert chain.follower.memory.view() == chain.leader.memory.view()


def one_for_each_number() -> list[tuple[int, Change]]:
    found: dict[int, Change] = {}
    for _, number, change in FAULTS:
        found.setdefault(number, change)
    return sorted(found.items())


def test_of_two_faults_the_one_that_is_checked_first_is_named(
    shared: tuple[SignedChain, Block],
) -> None:
    """Each fault is combined with every later one, the earlier applied last so that it shows."""
    chain, block = shared
    in_order = one_for_each_number()
    for at, (first, earlier) in enumerate(in_order):
        for later, change in in_order[at + 1 :]:
            if {first, later} & {3008, 3009} and {first, later} & {3007, 3010}:
                continue  # the changes to the body set these roots anew
            both = earlier(change(block, chain), chain)
            if first == 3007 or later == 3007:
                both = change(earlier(block, chain), chain)
            assert refused(chain, both).number == first, (first, later)


def test_a_bodys_shape_is_looked_at_before_its_roots_and_these_before_signatures(
    chain: SignedChain,
) -> None:
    block = honest(chain)
    short = altered(replace(block, commands=block.commands[:-64]), commands_root=ROOT)
    assert refused(chain, short).number == 3007
    unsigned = replace(block, signatures=bytes(len(block.signatures)))
    assert refused(chain, unsigned).number == 3009
    assert refused(chain, altered(unsigned, commands_root=ROOT)).number == 3008


def test_both_ends_of_the_time_of_a_block_are_allowed() -> None:
    for after_ms in (1, DAY_MS):
        chain = SignedChain()
        chain.step(after_ms=after_ms)


# -- 4001 .. 4015: groups that no block may contain ---------------------------------------------


def rebuilt(group: Group, signer: str, chain: SignedChain, **changes: Any) -> tuple[Group, bytes]:
    return chain.sign(group._replace(**changes), signer)


ROW = commands.settings(1)


def replayed(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [chain.group(A, [ROW], nonce=1)])


def twice(chain: SignedChain) -> Block:
    signed = chain.group(A, [ROW], nonce=9)
    return by_hand(chain.follower, [signed, signed])


def old_nonce(chain: SignedChain) -> Block:
    ahead, behind = chain.group(A, [ROW], nonce=300), chain.group(A, [ROW], nonce=44)
    return by_hand(chain.follower, [ahead, behind])


def far_nonce(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [chain.group(A, [ROW], nonce=1 + (1 << 20) + 1)])


def no_such_key(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [chain.group(A, [ROW], key=3)])


def expired_key(chain: SignedChain) -> Block:
    time = chain.genesis.time + 20 * GROUP_LIFE_MS
    signed = chain.group(A, [ROW], key=1, expires=time + 5)
    return by_hand(chain.follower, [signed], time=time)


def foreign_signer(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [chain.group(A, [ROW], signer=owner(B))])


def expired(chain: SignedChain) -> Block:
    time = chain.follower.head.time + 250
    return by_hand(chain.follower, [chain.group(A, [ROW], expires=time)], time=time)


def too_far_ahead(chain: SignedChain) -> Block:
    time = chain.follower.head.time + 250
    return by_hand(chain.follower, [chain.group(A, [ROW], expires=time + DAY_MS + 1)], time=time)


def no_tokens(chain: SignedChain) -> Block:
    """Burst 1000: sixteen groups of 64 are more."""
    return by_hand(chain.follower, [chain.group(A, [ROW] * 64) for _ in range(16)])


def no_shape(chain: SignedChain) -> Block:
    """A nonce of 0 cannot be told from no nonce."""
    return by_hand(chain.follower, [chain.group(A, [ROW], nonce=0)])


def long_deposit(chain: SignedChain) -> Block:
    rows = chain.deposit(owner(A), USD, 5)
    head = commands.ROW.pack(2 << 8 | KEY_DEPOSIT << 16, *commands.ROW.unpack(rows[:64])[1:])
    return by_hand(chain.follower, [], head + rows[64:] * 2)


def no_such_account(chain: SignedChain) -> Block:
    group, _ = chain.group(A, [ROW])
    return by_hand(chain.follower, [rebuilt(group, owner(A), chain, account=63)])


def the_sentinels_account(chain: SignedChain) -> Block:
    group, _ = chain.group(A, [ROW])
    return by_hand(chain.follower, [rebuilt(group, owner(A), chain, account=0)])


def a_governor_with_an_account(chain: SignedChain) -> Block:
    group, _ = chain.govern(commands.operation(layout.OP_CHAIN_STATUS, 0))
    return by_hand(chain.follower, [rebuilt(group, "governor", chain, account=1)])


def with_hint(rows: bytes, account: int) -> bytes:
    return rows[:8] + account.to_bytes(8, "little", signed=True) + rows[16:]


def wrong_hint(chain: SignedChain) -> Block:
    rows = chain.deposit(owner(A), USD, 5)
    return by_hand(chain.follower, [], with_hint(rows, B))


def hint_outside(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [], with_hint(chain.deposit(owner(A), USD, 5), -1))


def full(chain: SignedChain) -> Block:
    """Leaves_max 64: orders at prices far apart touch more."""
    signed = []
    for n in range(12):
        rows = [
            commands.place(0, layout.BUY, 4 * n + i, 64 * (4 * n + i) + 1, 10) for i in range(4)
        ]
        signed.append(chain.group(A + n % 4, rows))
    return by_hand(chain.follower, signed)


def out_of_order(chain: SignedChain) -> Block:
    chain.queued += 1
    return by_hand(chain.follower, [], chain.deposit(owner(A), USD, 5))


def a_message_again(chain: SignedChain) -> Block:
    chain.queued = 0
    return by_hand(chain.follower, [], chain.deposit(owner(A), USD, 5))


def command_among_messages(chain: SignedChain) -> Block:
    return by_hand(chain.follower, [], chain.group(A, [ROW])[0].rows)


Break = Callable[[SignedChain], Block]
GROUP_FAULTS: Final[list[tuple[int, Break]]] = [
    (4001, replayed), (4001, twice), (4002, old_nonce), (4003, far_nonce), (4004, no_such_key),
    (4005, foreign_signer), (4006, expired), (4007, too_far_ahead), (4008, no_tokens),
    (4009, no_shape), (4009, long_deposit), (4010, no_such_account),
    (4010, the_sentinels_account), (4010, a_governor_with_an_account), (4011, wrong_hint),
    (4011, hint_outside), (4012, full), (4013, out_of_order), (4013, a_message_again),
    (4014, expired_key), (4015, command_among_messages),
]  # fmt: skip


@pytest.fixture(scope="module")
def narrow() -> SignedChain:
    """A chain whose blocks may touch no more than 64 leaves; its follower does not move."""
    return chain_with_a_past(leaves_max=64)


@pytest.mark.parametrize(
    ("number", "broken"),
    GROUP_FAULTS,
    ids=[f"{number} {broken.__name__}" for number, broken in GROUP_FAULTS],
)
def test_a_group_that_no_block_may_contain_makes_the_block_invalid_by_its_number(
    narrow: SignedChain, number: int, broken: Break
) -> None:
    narrow.queued = 1
    error = refused(narrow, broken(narrow))
    assert error.number == number
    assert isinstance(error, NotIncludable)


def test_after_all_these_groups_the_next_block_applies() -> None:
    chain = chain_with_a_past(leaves_max=64)
    for number, broken in GROUP_FAULTS:
        chain.queued = 1
        assert refused(chain, broken(chain)).number == number
    chain.queued, chain.nonces[B, KEY_OWNER] = 1, 1
    chain.step([chain.group(B, [ROW])], chain.deposit(owner(A), USD, 5))


def test_a_group_at_the_end_of_a_block_takes_all_before_it_back(chain: SignedChain) -> None:
    """The fault names the row, and neither nonces nor trades of the groups before stay."""
    good = [
        chain.group(A, [commands.place(0, layout.BUY, 3, 1000, 50)]),
        chain.group(B, [commands.withdraw(USD, 5, address("home"))] * 3),
    ]
    replay = chain.group(B, [ROW], nonce=1)
    error = refused(chain, by_hand(chain.follower, [*good, replay], chain.deposit("x", USD, 7)))
    assert (error.number, error.facts["row"]) == (4001, 2 + 4)
    chain.queued -= 1
    chain.step(good)


def test_deposits_and_forced_groups_among_the_commands_are_refused_before_they_run(
    chain: SignedChain,
) -> None:
    """Nobody signs for them, so the signature is what is missing (3010)."""
    for key in (KEY_DEPOSIT, KEY_FORCED):
        words = address_words(address(owner(A)))
        group = Group(key, A, 1, 0, words, commands.operation(layout.OP_DEPOSIT, *words, 0, 5))
        block = by_hand(chain.follower, [(group, bytes(65))])
        assert refused(chain, block).number == 3010


# -- 3010 inside a block, 3011 ------------------------------------------------------------------


def test_a_session_keys_group_after_its_grant_in_the_same_block_is_invalid(
    chain: SignedChain,
) -> None:
    """Its signature was checked under the old epoch: what was revoked would live again."""
    expires = chain.genesis.time + 20 * GROUP_LIFE_MS
    terms: dict[str, Any] = {"expires": expires, "cap": 9, "markets": 1, "quote": USD}
    grant = commands.grant(1, address(f"session {A} 1"), **terms)
    before = chain.group(A, [ROW], key=1)
    again = chain.group(A, [grant])
    after = chain.group(A, [ROW], key=1, nonce=1)
    assert refused(chain, by_hand(chain.follower, [before, again, after])).number == 3010
    forced = chain.forced(owner(A), grant)
    assert refused(chain, by_hand(chain.follower, [before], forced)).number == 3010
    chain.queued -= 1
    chain.step([before, again])
    chain.step([chain.group(A, [ROW], key=1, nonce=1)])


def test_a_group_signed_before_a_revocation_is_dead_after_a_new_grant(chain: SignedChain) -> None:
    old = chain.group(A, [ROW], key=1, nonce=77)
    expires = chain.genesis.time + 20 * GROUP_LIFE_MS
    grant = commands.grant(
        1, address(f"session {A} 1"), expires=expires, cap=9, markets=1, quote=USD
    )
    chain.step([chain.group(A, [commands.revoke(1), grant])])
    assert refused(chain, by_hand(chain.follower, [old])).number == 3010
    group = old[0]
    chain.step([chain.sign(group, f"session {A} 1")])


def test_a_revoked_key_is_dead_from_the_next_operation_on(chain: SignedChain) -> None:
    revoke, late = chain.group(A, [commands.revoke(1)]), chain.group(A, [ROW], key=1)
    assert refused(chain, by_hand(chain.follower, [revoke, late])).number == 4004
    chain.step([late, revoke])


DRIFTING: Final = {
    "cancel": commands.cancel(0, 1 << 24 | 1),
    "cancel by client id": commands.cancel_client(1),
    "cancel all": commands.cancel_all(),
    "withdraw": commands.withdraw(USD, 5, address("home")),
    "revoke": commands.revoke(2),
}
BOUND: Final = {
    "place": commands.place(0, layout.BUY, 9, 5, 10),
    "amend": commands.amend_client(1, 5, 10),
    "transfer": commands.transfer(B, 5, USD),
    "grant": commands.grant(2, b"\1" * 20, expires=1 << 50, cap=1, markets=1, quote=USD),
    "dead-man": commands.deadman(0),
    "settings": ROW,
}


@pytest.fixture
def drifting() -> SignedChain:
    """A chain with L1 and a bound of 3 s."""
    return SignedChain(contract="0x" + "11" * 20, drift_max_ms=3000)


@pytest.mark.parametrize("name", [*DRIFTING, *BOUND])
def test_a_block_that_left_its_l1_origin_behind_only_reduces_risk(
    drifting: SignedChain, name: str
) -> None:
    chain = drifting
    chain.step()
    origin = chain.follower.head
    late = 1000 * origin.l1_time + 3000 - origin.time + 1
    signed = [chain.group(A, [DRIFTING["cancel all"], {**DRIFTING, **BOUND}[name]])]
    if name in DRIFTING:
        chain.step(signed, after_ms=late, l1_number=origin.l1_number)
        return
    unchecked = by_hand(chain.follower, signed, time=origin.time + late)
    assert refused(chain, unchecked).number == 3011
    chain.step(signed, after_ms=late - 1, l1_number=origin.l1_number)


def test_l1_messages_and_a_newer_origin_are_free_of_the_drift_rule(drifting: SignedChain) -> None:
    chain = drifting
    chain.step()
    late = 5000
    messages = chain.deposit("late", USD, 5) + chain.forced(owner(A), BOUND["place"])
    chain.step([], messages, after_ms=late, l1_number=chain.follower.head.l1_number)
    chain.step([chain.group(A, [BOUND["settings"]])], after_ms=late)


def test_a_chain_without_l1_has_no_drift_rule(chain: SignedChain) -> None:
    origin = chain.follower.head.l1_number
    chain.step([chain.group(A, [ROW], expires=chain.leader.head.time + 10**7)],
               after_ms=9 * 10**6, l1_number=origin)  # fmt: skip


# -- faults of our own --------------------------------------------------------------------------


class Broken(Exception):
    """Not an error of ours."""


@pytest.mark.parametrize("at", ["messages", "housekeeping", "commands", "results"])
@pytest.mark.parametrize("kind", [Broken, IndexError, MemoryError, KeyboardInterrupt])
def test_an_exception_inside_a_block_is_undone_and_reported(
    shared: tuple[SignedChain, Block],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
    kind: type[BaseException],
) -> None:
    chain, block = shared
    calls = 0

    def failing(real: Callable[..., Any], on_call: int) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            result = real(*arguments)  # what it did must be taken back too
            if calls == on_call:
                raise kind("injected")
            return result

        return run

    name, on_call = {
        "messages": ("execute", 1),
        "housekeeping": ("housekeeping", 1),
        "commands": ("execute", 2),
        "results": ("results_of", 1),
    }[at]
    with monkeypatch.context() as patch:
        patch.setattr(transition, name, failing(getattr(transition, name), on_call))
        before = fingerprint(chain.follower)
        with pytest.raises((CoreFault, KeyboardInterrupt)) as caught:
            apply_block(chain.follower, block)
        assert fingerprint(chain.follower) == before
    if kind is not KeyboardInterrupt:
        assert isinstance(caught.value, CoreFault)
        assert caught.value.number == transition.CORE_EXCEPTION
        assert "do not vote" in caught.value.text and kind.__name__ in caught.value.text
        assert isinstance(caught.value.__cause__, kind)


def test_after_a_fault_of_the_core_the_honest_block_applies(
    chain: SignedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = honest(chain)
    with monkeypatch.context() as patch:
        patch.setattr(transition, "results_of", lambda *_: 1 // 0)
        assert refused(chain, block).number == transition.CORE_EXCEPTION
    assert apply_block(chain.follower, block).hash == chain.leader.head_hash


def test_a_core_that_makes_no_progress_is_a_fault_and_no_endless_loop(
    chain: SignedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = honest(chain)
    with monkeypatch.context() as patch:
        patch.setattr(transition, "execute", lambda M, S, rows, at, end, phase: at)
        assert refused(chain, block).number == transition.CORE_STOPPED
    apply_block(chain.follower, block)


def answer(
    addresses: list[bytes | None], pairs: Sequence[tuple[bytes, bytes]]
) -> list[bytes | None]:
    return addresses


def test_a_recovery_that_fails_leaves_the_state_as_it_was(chain: SignedChain) -> None:
    block = honest(chain)

    def recover(pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        raise Broken("no threads left")

    before = fingerprint(chain.follower)
    with pytest.raises(CoreFault):
        apply_block(chain.follower, block, recover)
    assert fingerprint(chain.follower) == before
    shorts: list[list[bytes | None]] = [[], [None, None], [address(owner(A))]]
    for short in shorts:
        with pytest.raises(InvalidBlock) as refusal:
            apply_block(chain.follower, block, partial(answer, short))
        assert refusal.value.number == 3010
    apply_block(chain.follower, block)


def test_no_block_is_applied_while_another_one_is_open_on_the_state(chain: SignedChain) -> None:
    """The leader's own memory is the proposal's until it is sealed or abandoned."""
    block = honest(chain)
    proposal = Proposal(chain.follower, chain.opening(after_ms=1))
    before = fingerprint(chain.follower)
    with pytest.raises(CoreFault) as caught:
        apply_block(chain.follower, block)
    assert caught.value.number == transition.BLOCK_OPEN
    assert fingerprint(chain.follower)[2:] == before[2:]
    proposal.abandon()
    apply_block(chain.follower, block)


def test_one_signature_of_a_stranger_makes_a_block_invalid_even_if_its_key_is_in_the_state(
    chain: SignedChain,
) -> None:
    group, _ = chain.group(A, [ROW])
    digest_of_another = sign(private_key(owner(B)), bytes(32))
    assert refused(chain, by_hand(chain.follower, [(group, digest_of_another)])).number == 3010


def test_a_decoded_block_is_the_block(chain: SignedChain) -> None:
    block = honest(chain)
    apply_block(chain.follower, decode_block(encode_block(block)))
    assert chain.follower.head == chain.leader.head


def test_a_block_without_anything_moves_time_and_height_only(chain: SignedChain) -> None:
    words = bytes(chain.follower.memory.view())
    assert chain.step().events == b""
    after = bytes(chain.follower.memory.view())
    changed = [n // 8 for n in range(0, len(words), 8) if words[n : n + 8] != after[n : n + 8]]
    assert set(changed) <= {
        layout.HEIGHT, layout.TIME, layout.SWEEP_MARKET, layout.L1_ORIGIN,
        chain.follower.memory.M[layout.AT_MARKETS] + layout.MARKET_SWEEP,
    }  # fmt: skip


def test_every_number_of_the_protocol_page_has_a_test_here() -> None:
    tested = {number for _, number, _ in FAULTS} | {number for number, _ in GROUP_FAULTS}
    assert tested | {3011} == {*range(3001, 3019), *range(4001, 4016)}
    assert set(transition.FAULTS) == set(range(4001, 4016))


def test_owner_keys_of_the_past_are_not_session_keys(chain: SignedChain) -> None:
    """An owner's signature under a session key's number is not the session key's."""
    signed = chain.group(A, [ROW], key=1, signer=owner(A))
    assert refused(chain, by_hand(chain.follower, [signed])).number == 4005
