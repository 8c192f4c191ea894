"""Rules 9, 10 and 12 where a block is needed: core faults, compiled semantics, revived keys."""

import functools
from pathlib import Path
from typing import Final

import pytest
from librt.vecs import vec
from mypy_extensions import i64
from side_by_side import SELL, Exchange

import consensus
from consensus import commands, genesis, layout, transition
from consensus.authority import VerifiedGroup, context_of, group_digest, verify_groups
from consensus.block import Block
from consensus.chain import State, genesis_state, low_neighbour
from consensus.commands import Group, deposit_group
from consensus.exceptions import CoreFault, InvalidBlock, NotIncludable
from consensus.execute import execute
from consensus.matching.orders import slot_of
from consensus.proposal import Opening, Proposal
from consensus.scratch import highest_bit, lowest_bit
from consensus.signatures import address_of, address_words, public_key_of, recover_many, sign
from consensus.transition import apply_block

OWNER: Final = b"\7" * 32  # private keys
SESSION: Final = b"\11" * 32
FILE: Final = Path(consensus.__file__).parents[1] / "genesis" / "minimal.json"


@functools.cache
def address(key: bytes) -> bytes:
    return address_of(public_key_of(key))


class Chain:
    """A leader's state, block by block, with one funded owner."""

    def __init__(self) -> None:
        self.state: State = genesis_state(genesis.parse(FILE.read_bytes()))
        self.nonce = 0
        M = self.state.memory.M
        self.account = int(M[layout.ACCOUNTS])
        hint = low_neighbour(M, address_words(address(OWNER)))
        self.funding = [
            deposit_group(hint if n == 0 else self.account, n, address(OWNER), n, 10**9).rows
            for n in range(2)
        ]

    def opening(self) -> Opening:
        head = self.state.head
        return Opening(head.time + 1, head.l1_number + 1, bytes(32), head.l1_time)

    def group(self, *rows: bytes, key: int = 0) -> Group:
        self.nonce += 1
        signer = address_words(address(SESSION if key else OWNER))
        expires = self.state.head.time + 5000
        return Group(key, self.account, self.nonce, expires, signer, b"".join(rows))

    def signed(self, group: Group) -> bytes:
        memory = self.state.memory
        digest = group_digest(memory.M, context_of(self.state), group)
        return sign(SESSION if group.key else OWNER, digest)

    def verified(self, group: Group, signature: bytes = b"") -> VerifiedGroup | None:
        pair = (group, signature or self.signed(group))
        return verify_groups(self.state, [pair], recover_many)[0]

    def block(self, *groups: Group, fund: bool = False) -> tuple[Block, bytes]:
        """Seal a block of these groups; it and its events."""
        verified = [self.verified(group) for group in groups]
        proposal = Proposal(self.state, self.opening(), b"".join(self.funding) if fund else b"")
        for each in verified:
            assert each is not None
            proposal.add(each)
        block, outcome = proposal.seal()
        return block, outcome.events

    def grant(self) -> bytes:
        expires = self.state.head.time + 86_400_000
        return commands.grant(
            1, address(SESSION), expires=expires, cap=10**9, markets=1, quote=0
        )


@pytest.fixture
def chain() -> Chain:
    made = Chain()
    made.block(fund=True)
    return made


# Rule 9


class BrokenCoreError(Exception):
    pass


def broken(*_: object) -> int:
    raise BrokenCoreError


def image(state: State) -> bytes:
    return bytes(state.memory.view())


def test_rule_09_a_follower_undoes_a_block_on_which_the_core_fails(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Chain()
    follower.block(fund=True)
    block, _ = chain.block(chain.group(commands.place(0, SELL, 1, 100, 5)))
    before, head, root = image(follower.state), follower.state.head_hash, follower.state.head
    calls: list[int] = []

    def fails_at_the_end(
        M: vec[i64], S: vec[i64], b: bytes, i: int, end: int, phase: int
    ) -> int:
        calls.append(execute(M, S, b, i, end, phase))
        raise BrokenCoreError

    monkeypatch.setattr(transition, "execute", fails_at_the_end)
    with pytest.raises(CoreFault) as caught:
        apply_block(follower.state, block)
    assert caught.value.number == transition.CORE_EXCEPTION and calls
    assert (image(follower.state), follower.state.head_hash) == (before, head)
    assert follower.state.memory.tree.root() == root.state_root
    monkeypatch.undo()
    assert apply_block(follower.state, block).hash == chain.state.head_hash
    assert image(follower.state) == image(chain.state)


def test_rule_09_a_leader_undoes_the_block_and_goes_on_without_the_command(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image(chain.state)
    poison = chain.verified(chain.group(commands.place(0, SELL, 1, 100, 5)))
    assert poison is not None
    proposal = Proposal(chain.state, chain.opening())
    monkeypatch.setattr(transition, "execute", broken)
    with pytest.raises(CoreFault):
        proposal.add(poison)
    assert image(chain.state) == before
    assert chain.state.memory.tree.root() == chain.state.head.state_root
    monkeypatch.undo()
    _, events = chain.block(chain.group(commands.place(0, SELL, 2, 101, 5)))
    assert events[::64][-1] == layout.EVENT_RESTED


def test_rule_09_a_group_that_is_not_includable_leaves_the_block_as_it_was(chain: Chain) -> None:
    good, late = chain.group(commands.cancel(0, 5)), chain.group(commands.cancel(0, 5))
    late = late._replace(expires=chain.state.head.time)
    first, second = chain.verified(good), chain.verified(late)
    assert first is not None and second is not None
    proposal = Proposal(chain.state, chain.opening())
    proposal.add(first)
    between = image(chain.state)
    for group in (first, second):
        with pytest.raises(NotIncludable):
            proposal.add(group)
        assert image(chain.state) == between
    proposal.seal()


# Rule 10


def test_rule_10_words_of_any_sign_and_size_are_refused_and_never_an_index() -> None:
    """The extremes of 64 bits in every word of every operation: no exception, one outcome."""
    exchange = Exchange()
    extremes = (-1, -(1 << 63), (1 << 63) - 1, 1 << 62, -(1 << 32))
    for op in (*range(1, 12), 16, *range(32, 42)):
        for key in (0, 253):
            rows = [
                commands.ROW.pack(op, *[0] * at, value, *[0] * (6 - at))
                for at in range(7)
                for value in extremes
            ]
            for start in range(0, len(rows), 64):
                exchange.say(0 if key == 0 else -1, *rows[start : start + 64], key=key)


def test_rule_10_a_slot_is_never_negative_whatever_the_handle() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 1)
    M = exchange.core.memory.M
    k = int(M[M[layout.AT_MARKETS]])
    for handle in (-1, -(1 << 63), -(1 << 24) | 1, (1 << 63) - 1, 0, 1, 1 << 24):
        assert slot_of(M, k, handle, 2) == 0
    assert slot_of(M, k, 1 << 24 | 1, 2) == 1


def test_rule_10_a_negative_index_is_an_error_in_the_compiled_core() -> None:
    exchange = Exchange()
    with pytest.raises(IndexError):
        exchange.core.memory.M[-1 - len(exchange.core.memory.M)]


def test_rule_10_bits_are_found_at_both_ends_of_a_word() -> None:
    S = Exchange().core.memory.S
    for n in range(64):
        word = 1 << n if n < 63 else -(1 << 63)
        assert lowest_bit(S, word) == n == highest_bit(word)
        assert lowest_bit(S, word | -(1 << 63)) == n
        assert highest_bit(word | 1) == n


# Rule 12


def test_rule_12_revoke_and_grant_again_revives_no_old_signature(chain: Chain) -> None:
    chain.block(chain.group(chain.grant()))
    old = chain.group(commands.place(0, SELL, 1, 100, 5), key=1)
    signature = chain.signed(old)
    assert chain.verified(old, signature) is not None
    chain.block(chain.group(commands.revoke(1)))
    assert chain.verified(old, signature) is None
    chain.block(chain.group(chain.grant()))
    assert chain.verified(old, signature) is None
    assert chain.verified(old) is not None  # signed anew, it is good


def test_rule_12_a_fresh_key_signs_from_the_next_block_on(chain: Chain) -> None:
    chain.block(chain.group(chain.grant()))
    one, old = (
        chain.verified(chain.group(commands.place(0, SELL, client, 100, 5), key=1))
        for client in (1, 2)
    )
    granted = chain.verified(chain.group(commands.revoke(1), chain.grant()))
    assert one is not None and old is not None and granted is not None
    proposal = Proposal(chain.state, chain.opening())
    proposal.add(one)  # the epoch before the block is known from here on
    proposal.add(granted)
    with pytest.raises(InvalidBlock) as caught:
        proposal.add(old)
    assert caught.value.number == transition.SIGNATURE
    proposal.abandon()


def test_rule_12_a_signature_by_another_key_or_over_other_rows_is_none(chain: Chain) -> None:
    group = chain.group(commands.place(0, SELL, 1, 100, 5))
    good = chain.signed(group)
    assert chain.verified(group, good) is not None
    for other in (
        group._replace(nonce=group.nonce + 1),
        group._replace(expires=group.expires + 1),
        group._replace(operations=commands.place(0, SELL, 1, 100, 6)),
        group._replace(signer=address_words(address(SESSION))),
    ):
        assert chain.verified(other, good) is None
