"""Blocks come back from what is posted of them; what cannot be a block is refused by its number.

That random traffic comes back is in test_leader_and_follower.py.
"""

from collections.abc import Iterable
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
)

from consensus import commands, layout, transition
from consensus.block import BODY_SHAPE
from consensus.da import payload
from consensus.da.payload import BlockBody
from consensus.exceptions import ConsensusError, CoreFault
from consensus.rollup import rebuild as module
from consensus.rollup.rebuild import NOT_POSTED, rebuild
from consensus.signatures import address_words
from consensus.transition import apply_block

A, B = FIRST_OWNER, FIRST_OWNER + 1
SMALL_MARKET: Final = commands.operation(
    layout.OP_LIST_MARKET, 0 | 1 << 8 | 6 << 16 | 6 << 24 | 6 << 32, 1, 1, 0, 100, 9 << 20, 0
)
ROOM: Final = 1 << 16


@pytest.fixture
def chain() -> SignedChain:
    return SignedChain()


def governor(name: str, bits: int = 0) -> bytes:
    return commands.operation(layout.OP_GOVERNOR, *address_words(address(name)), bits=bits)


def posted(chain: SignedChain, signed: Iterable[Signed] = (), **how: Any) -> BlockBody:
    """What a reader of the payload has of the leader's next block."""
    block, _ = chain.propose(signed, **how)
    chain.blocks.append(block)
    header = block.header
    body = BlockBody(
        header.time, header.round, header.proposer, header.l1_number, header.l1_hash,
        header.l1_time, block.messages, block.commands, block.signatures,
    )  # fmt: skip
    (found,) = payload.decode(payload.encode([body]))
    return found


def comes_back(chain: SignedChain, body: BlockBody) -> None:
    block = rebuild(chain.follower, body)
    assert block == chain.blocks[-1]
    apply_block(chain.follower, block)


def refused(chain: SignedChain, body: BlockBody) -> ConsensusError:
    before = fingerprint(chain.follower)
    with pytest.raises(ConsensusError) as caught:
        rebuild(chain.follower, body)
    assert fingerprint(chain.follower) == before
    return caught.value


def test_an_account_that_the_same_block_made_has_its_signer(chain: SignedChain) -> None:
    last = FIRST_OWNER + 4
    first = chain.group(last, [commands.settings(1)], signer="newcomer")
    message = chain.deposit("newcomer", USD, 5)
    comes_back(chain, posted(chain, [first], messages=message))
    assert module.signer(chain.follower.memory.M, last, 0) == address_words(address("newcomer"))


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_listing_behind_a_change_of_governor_finds_room(
    chain: SignedChain, is_refused: bool
) -> None:
    """Whether the change is refused is known only when it runs: both governors may list."""
    change = chain.govern(governor("heir", bits=1 << 8 if is_refused else 0))
    listing = chain.govern(SMALL_MARKET, signer="governor" if is_refused else "heir")
    body = posted(chain, [change, listing], listing_room=ROOM)
    comes_back(chain, body)
    assert chain.follower.memory.M[layout.MARKETS] == 2


def test_nobody_but_a_governor_makes_a_reader_allocate(chain: SignedChain) -> None:
    body = posted(chain, [chain.govern(SMALL_MARKET)], listing_room=ROOM)
    for n in (0, 40, 64):
        other = bytearray(body.signatures)
        other[n] ^= 1
        words = len(chain.follower.memory.M)
        assert refused(chain, body._replace(signatures=bytes(other))).number == transition.SIGNATURE
        assert len(chain.follower.memory.M) == words


def test_without_signatures_a_block_does_not_come_back(chain: SignedChain) -> None:
    body = posted(chain, [chain.group(A, [commands.settings(1)])])
    assert refused(chain, body._replace(signatures=bytes(32))).number == NOT_POSTED


def test_a_header_or_group_that_cannot_be_is_refused_by_its_number(chain: SignedChain) -> None:
    group = chain.group(A, [commands.settings(1)])
    body = posted(chain, [group])
    bad = bytearray(body.commands)
    bad[8] = 99  # no such account
    rows = chain.deposit(owner(B), USD, 5)
    skipped = rows[:16] + (1).to_bytes(8, "little") + rows[24:]
    for changed, number in (
        (body._replace(time=chain.follower.head.time), transition.TIME),
        (body._replace(l1_number=0), transition.ORIGIN),
        (body._replace(commands=body.commands[:-1]), BODY_SHAPE),
        (body._replace(commands=bytes(bad)), layout.ACCOUNT_UNKNOWN),
        (body._replace(commands=body.commands * 2), layout.NONCE_USED),
        (body._replace(messages=skipped), layout.L1_ORDER),
    ):
        assert refused(chain, changed).number == number
    comes_back(chain, body)


def test_a_failing_core_takes_the_block_back(
    chain: SignedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = posted(chain, [chain.group(A, [commands.settings(1)])])

    def broken(*_: object) -> bytes:
        raise IndexError("planted")

    with monkeypatch.context() as patched:
        patched.setattr(module, "run", broken)
        error = refused(chain, body)
    assert isinstance(error, CoreFault)
    assert error.number == transition.CORE_EXCEPTION
    comes_back(chain, body)
