"""Flipped, missing and added bytes of everything that leaves a node, on a live random state.

One door for each kind of bytes. A door either refuses by a number of its class, or what it accepts
is told from the original by the hash that its reader trusts: nothing is accepted as something else.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pytest
from random_traffic import LISTING, RandomTraffic
from signed_chain import FIRST_OWNER, SignedChain, address, fingerprint, genesis_value, owner

from consensus import layout, receipts
from consensus.block import decode_block, encode_block
from consensus.da import payload
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, NotIncludable
from consensus.genesis import parse
from consensus.proposal import Proposal
from consensus.state import snapshot
from consensus.state.export import export, import_
from consensus.state.snapshot import Facts, restore
from consensus.state.statements import (
    prove_account,
    prove_balance,
    prove_level,
    prove_order,
    verify_account,
    verify_balance,
    verify_level,
    verify_order,
)
from consensus.transition import apply_block

SEED: Final = 1_125
A: Final = FIRST_OWNER


class Accepted(Exception):
    """A door took bytes that are not the original for the original."""


@dataclass(frozen=True)
class Door:
    """`read` raises a ConsensusError of `numbers`, or `Accepted`, or returns: told by its hash."""

    data: bytes
    read: Callable[[bytes], None]
    numbers: tuple[tuple[int, int], ...]  # ranges, both ends inside


@dataclass
class Past:
    """A chain, its next block not yet applied by the follower, and that block's events."""

    chain: SignedChain
    data: bytes
    events: bytes


@lru_cache(maxsize=1)
def past() -> Past:
    chain = SignedChain(rate_per_s=100_000, rate_burst=100_000, leaves_max=4000)
    traffic = RandomTraffic(chain, SEED)
    for n in range(25):
        messages = b"".join(traffic.message() for _ in range(2)) if n % 3 == 0 else b""
        groups = chain.verified(traffic.group() for _ in range(5))
        # The last block keeps its parent's origin: a new one would be the proposer's free choice.
        opening = chain.opening(100, chain.leader.head.l1_number if n == 24 else None)
        block = Proposal(chain.leader, opening, messages, LISTING)
        for group in groups:
            try:
                block.add(group)
            except (NotIncludable, InvalidBlock):
                continue
        sealed, outcome = block.seal()
        traffic.learn(outcome.events)
        if n < 24:
            apply_block(chain.follower, sealed)
    assert len(sealed.messages) > 64 and len(sealed.signatures) >= 3 * 65
    return Past(chain, encode_block(sealed), outcome.events)


def block_door() -> Door:
    chain, data = past().chain, past().data
    before = chain.follower.head_hash

    def read(bad: bytes) -> None:
        try:
            apply_block(chain.follower, decode_block(bad))
        finally:
            assert chain.follower.head_hash == before
        raise Accepted

    return Door(data, read, ((1001, 1016), (3001, 3018), (4001, 4015)))


def receipt_door() -> Door:
    header, events = past().chain.leader.head, past().events
    trusted, sequence = past().chain.leader.head_hash, header.sequence - 3
    data = receipts.encode_receipt(receipts.make(header, events, sequence))
    found = receipts.verify(receipts.decode_receipt(data), trusted)

    def read(bad: bytes) -> None:
        receipt = receipts.decode_receipt(bad)
        other = receipts.verify(receipt, trusted)
        if receipt.sequence == sequence or other == found:
            raise Accepted  # another operation's receipt may lie in the same leaves, and is true

    return Door(data, read, ((1001, 1016), (3101, 3105), (5400, 5403)))


def snapshot_door() -> Door:
    state = past().chain.follower
    memory = state.memory
    facts = Facts(
        layout.LAYOUT_VERSION, state.chain.genesis_hash, state.head.height, state.head_hash,
        memory.tree.root(),
    )  # fmt: skip
    data = b"".join(snapshot.write(memory.tree.regions, memory.view(), facts))
    assert restore(data).memory == bytes(memory.view())

    def read(bad: bytes) -> None:
        restore(bad)
        raise Accepted

    return Door(data, read, ((5500, 5512),))


def export_door() -> Door:
    data = export(past().chain.follower.memory)

    def read(bad: bytes) -> None:
        import_(bad)
        raise Accepted

    return Door(data, read, ((5600, 5611), (5700, 5799)))


def proof_doors() -> Iterator[tuple[str, Door]]:
    memory = past().chain.follower.memory
    root, who = memory.tree.root(), address(owner(A))
    nobody = address("nobody at all")
    k = memory.M[memory.M[layout.AT_MARKETS]]
    pool = k + memory.M[k + layout.BOOK_AT_POOL]
    slot = next(
        slot
        for slot in range(1, memory.M[k + layout.BOOK_POOL_MAX])
        if memory.M[pool + 16 * slot] & layout.TAG_LIVE
    )
    handle = memory.M[pool + 16 * slot] >> 32 << 24 | slot
    price = memory.M[pool + 16 * slot + layout.ORDER_PRICE]
    side = memory.M[pool + 16 * slot] >> 1 & 1
    yield from (
        (f"proof of {name}", Door(data, refusing(verify), ((5000, 5011), (5200, 5206))))
        for name, data, verify in (
            ("an account", prove_account(memory, who).encode(),
             lambda bad: verify_account(root, bad, who)),
            ("no account", prove_account(memory, nobody).encode(),
             lambda bad: verify_account(root, bad, nobody)),
            ("a balance", prove_balance(memory, who, 0).encode(),
             lambda bad: verify_balance(root, bad, who, 0)),
            ("an order", prove_order(memory, 0, handle).encode(),
             lambda bad: verify_order(root, bad, 0, handle)),
            ("a level", prove_level(memory, 0, side, price).encode(),
             lambda bad: verify_level(root, bad, 0, side, price)),
        )
    )  # fmt: skip


def refusing(verify: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def read(bad: bytes) -> None:
        verify(bad)
        raise Accepted

    return read


def body_of(data: bytes) -> payload.BlockBody:
    block = decode_block(data)
    header = block.header
    return payload.BlockBody(
        header.time, header.round, header.proposer, header.l1_number, header.l1_hash,
        header.l1_time, block.messages, block.commands, block.signatures,
    )  # fmt: skip


def payload_door() -> Door:
    """A batch names the SHA-256 of the payload: what decodes must be other bytes' one form."""
    data = payload.encode([body_of(past().data)])

    def read(bad: bytes) -> None:
        bodies = payload.decode(bad)
        if payload.encode(bodies) != bad or bodies == payload.decode(data):
            raise Accepted

    return Door(data, read, ((8001, 8099),))


def frame_door() -> Door:
    """The compressed payload."""
    data = payload.encode([body_of(past().data)])

    def read(bad: bytes) -> None:
        payload.decompress(bad)  # one content has many frames; its hash is what counts

    return Door(payload.compress(data), read, ((8001, 8099),))


def genesis_door() -> Door:
    data = json.dumps(genesis_value()).encode("ascii")
    original = parse(data)

    def read(bad: bytes) -> None:
        if parse(bad).hash == original.hash:
            raise Accepted

    return Door(data, read, ((6000, 6999),))


NAMES: Final = (
    "block", "receipt", "snapshot", "export", "payload", "compressed payload", "genesis",
    "proof of an account", "proof of no account", "proof of a balance", "proof of an order",
    "proof of a level",
)  # fmt: skip


@lru_cache(maxsize=1)
def doors() -> dict[str, Door]:
    made = {
        "block": block_door(), "receipt": receipt_door(), "snapshot": snapshot_door(),
        "export": export_door(), "payload": payload_door(), "compressed payload": frame_door(),
        "genesis": genesis_door(), **dict(proof_doors()),
    }  # fmt: skip
    assert tuple(made) == NAMES
    return made


def try_door(door: Door, bad: bytes) -> int:
    """The number of the refusal, or 0 for bytes that their hash tells from the original."""
    try:
        door.read(bad)
    except CoreFault as error:
        pytest.fail(f"bad bytes are nobody's fault but their sender's: {error}")
    except ConsensusError as error:
        assert any(low <= error.number <= high for low, high in door.numbers), error
        return error.number
    return 0


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_byte_is_refused_by_number_or_told_by_its_hash(
    name: str, long_run: bool
) -> None:
    """One random bit of every byte, of 1500 at most; in the long form all bits of all bytes."""
    door, rng = doors()[name], random.Random(SEED)
    print("seed", SEED, name, len(door.data), "bytes")
    places = list(range(len(door.data)))
    if not long_run:
        places = sorted(rng.sample(places, min(len(places), 1500)))
    numbers = set()
    for at in places:
        for bit in range(8) if long_run else (rng.randrange(8),):
            bad = bytearray(door.data)
            bad[at] ^= 1 << bit
            numbers.add(try_door(door, bytes(bad)))
    assert numbers - {0}


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_and_extension_is_refused_by_number(name: str, long_run: bool) -> None:
    door, rng = doors()[name], random.Random(SEED)
    lengths = list(range(len(door.data)))
    if not long_run:
        lengths = [0, 1, len(lengths) - 1, *rng.sample(lengths, 150)]
    for length in lengths:
        assert try_door(door, door.data[:length]), length
    for tail in (b"\0", b"\1", b"{", bytes(8), bytes(64), door.data[:33], door.data):
        assert try_door(door, door.data + tail), tail[:9]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_in_another_order_or_from_nowhere_are_refused_or_told(name: str) -> None:
    """Two bytes exchanged, a piece repeated or cut out, another door's bytes, noise."""
    door, rng = doors()[name], random.Random(SEED)
    size = len(door.data)
    for _ in range(120):
        one, two = sorted(rng.sample(range(size), 2))
        data = bytearray(door.data)
        data[one], data[two] = data[two], data[one]
        variants = (
            bytes(data),
            door.data[:one] + door.data[two:],
            door.data[:two] + door.data[one:],
            rng.randbytes(rng.randrange(300)),
        )
        for bad in variants:
            if bad != door.data:
                try_door(door, bad)
    for other in NAMES:
        if other != name:
            assert try_door(door, doors()[other].data), other


def test_after_all_this_the_follower_is_as_it_was_and_the_original_block_applies() -> None:
    chain, data = past().chain, past().data
    before = fingerprint(chain.follower)
    door, rng = doors()["block"], random.Random(SEED)
    for at in rng.sample(range(len(data)), 40):
        bad = bytearray(data)
        bad[at] ^= 1 << rng.randrange(8)
        assert try_door(door, bytes(bad))
        assert fingerprint(chain.follower) == before
    apply_block(chain.follower, decode_block(data))
    assert chain.follower.head == chain.leader.head
    past.cache_clear()
    doors.cache_clear()
