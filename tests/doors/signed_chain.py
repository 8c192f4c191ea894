"""A chain with a leader and a follower, wallets that sign, and an L1 queue: real blocks for tests.

What lives here: keys, groups with right nonces, blocks made by the leader, blocks put together by
hand. What must never live here: an expectation.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from typing import Any, Final

from consensus import block as body
from consensus import layout
from consensus.authority import VerifiedGroup, context_of, group_digest, verify_groups
from consensus.block import Block, Header
from consensus.chain import State, genesis_state, low_neighbour, validators_hash
from consensus.commands import Group, deposit_group
from consensus.exceptions import ConsensusError
from consensus.genesis import Genesis, parse
from consensus.layout import KEY_FORCED, KEY_GOVERNANCE, KEY_OWNER
from consensus.proposal import Opening, Proposal
from consensus.sealing import Outcome
from consensus.signatures import address_of, address_words, public_key_of, recover_many, sign
from consensus.transition import apply_block

OWNERS: Final = 4
FIRST_OWNER: Final = 2  # account number; 1 is the fee account
USD, BTC = 0, 1
GROUP_LIFE_MS: Final = 60_000
Signed = tuple[Group, bytes]


def private_key(name: str) -> bytes:
    return sha256(f"rialto/test/{name}".encode("ascii")).digest()


def address(name: str) -> bytes:
    return address_of(public_key_of(private_key(name)))


def owner(account: int) -> str:
    """The name of the wallet of this account."""
    return f"owner {account}"


def genesis_value(**changes: Any) -> dict[str, Any]:
    """`genesis/minimal.json` with known wallets; `changes` replace members or parameters."""
    value: dict[str, Any] = json.loads(
        resources.files("genesis").joinpath("minimal.json").read_text("ascii")
    )
    value["governor"] = "0x" + address("governor").hex()
    value["fee_account"] = "0x" + address("fee").hex()
    value["deposits"] = [
        {"owner": "0x" + address(owner(n)).hex(), "asset": asset, "amount": 10**9}
        for n in range(FIRST_OWNER, FIRST_OWNER + OWNERS)
        for asset in ("USD", "BTC")
    ]
    for name, change in changes.items():
        (value["parameters"] if name in value["parameters"] else value)[name] = change
    return value


def genesis_of(**changes: Any) -> Genesis:
    return parse(json.dumps(genesis_value(**changes)).encode("ascii"))


class SignedChain:
    """`leader` proposes, `follower` applies; they share no memory."""

    def __init__(self, **changes: Any) -> None:
        self.genesis = genesis_of(**changes)
        self.leader = genesis_state(self.genesis)
        self.follower = genesis_state(self.genesis)
        self.nonces: Counter[tuple[int, int]] = Counter()
        self.governor = "governor"
        self.queued = 0  # L1 messages written so far
        self.blocks: list[Block] = []
        self.origin: tuple[int, bytes, int] | None = None  # an L1 block's number, hash, time

    # -- groups ------------------------------------------------------------------------------

    def group(
        self,
        account: int,
        rows: Sequence[bytes],
        *,
        key: int = KEY_OWNER,
        signer: str | None = None,
        nonce: int | None = None,
        expires: int | None = None,
    ) -> Signed:
        """A group of `account`, signed by `signer` (the account's owner, or its session key)."""
        if signer is None:
            signer = owner(account) if key == KEY_OWNER else f"session {account} {key}"
            signer = self.governor if key == KEY_GOVERNANCE else signer
        if nonce is None:
            self.nonces[account, key] += 1
            nonce = self.nonces[account, key]
        if expires is None:
            expires = self.leader.head.time + GROUP_LIFE_MS
        words = address_words(address(signer))
        return self.sign(Group(key, account, nonce, expires, words, b"".join(rows)), signer)

    def sign(self, group: Group, signer: str) -> Signed:
        state = self.leader
        digest = group_digest(state.memory.M, context_of(state), group)
        return group, sign(private_key(signer), digest)

    def govern(self, *rows: bytes, **how: Any) -> Signed:
        return self.group(0, rows, key=KEY_GOVERNANCE, **how)

    def verified(self, signed: Iterable[Signed]) -> list[VerifiedGroup]:
        groups = verify_groups(self.leader, list(signed), recover_many)
        assert None not in groups, "a signature that was just made does not verify"
        return [group for group in groups if group is not None]

    def deposit(self, name: str, asset: int, amount: int) -> bytes:
        """The rows of the next L1 message, a deposit."""
        words = address_words(address(name))
        low = low_neighbour(self.leader.memory.M, words)
        self.queued += 1
        return deposit_group(low, self.queued - 1, address(name), asset, amount).rows

    def forced(self, name: str, *rows: bytes) -> bytes:
        """The rows of the next L1 message, a forced group."""
        words = address_words(address(name))
        low = low_neighbour(self.leader.memory.M, words)
        self.queued += 1
        return Group(KEY_FORCED, low, self.queued - 1, 0, words, b"".join(rows)).rows

    # -- blocks ------------------------------------------------------------------------------

    def opening(self, after_ms: int = 250, l1_number: int | None = None) -> Opening:
        """The next block's. Without `origin`, its L1 makes a block a second, never behind."""
        head = self.leader.head
        time = head.time + after_ms
        if self.origin is not None:
            return Opening(time, *self.origin)
        number = time // 1000 if l1_number is None else l1_number
        return Opening(time, number, number.to_bytes(32, "big"), number)

    def propose(
        self, signed: Iterable[Signed] = (), messages: bytes = b"", **how: Any
    ) -> tuple[Block, Outcome]:
        """The leader's next block with these groups; it is the leader's head then."""
        room = how.pop("listing_room", 0)
        groups = self.verified(signed)
        proposal = Proposal(self.leader, self.opening(**how), messages, room)
        try:
            for group in groups:
                proposal.add(group)
        except ConsensusError:
            proposal.abandon()
            raise
        return proposal.seal()

    def step(self, signed: Iterable[Signed] = (), messages: bytes = b"", **how: Any) -> Outcome:
        """Propose a block and let the follower apply it."""
        block, sealed = self.propose(signed, messages, **how)
        outcome = apply_block(self.follower, block)
        assert outcome == sealed
        self.blocks.append(block)
        return outcome


def by_hand(
    state: State, signed: Iterable[Signed] = (), messages: bytes = b"", **fields: Any
) -> Block:
    """A block on `state` whose body is rooted; results are the parent's unless `fields` say so."""
    groups = list(signed)
    commands = b"".join(group.rows for group, _ in groups)
    header = replace(
        state.head,
        version=state.chain.forks.at(state.head.height + 1).version,
        height=state.head.height + 1,
        parent=state.head_hash,
        time=state.head.time + 250,
        validators_hash=validators_hash(state.memory.M),
    )
    block = Block(header, messages, commands, b"".join(signature for _, signature in groups))
    return altered(rooted(block), **fields)


def rooted(block: Block) -> Block:
    """The block with the roots of its own body in the header."""
    return altered(
        block,
        commands_root=body.commands_root(block),
        signatures_root=body.signatures_root(block),
    )


def altered(block: Block, **fields: Any) -> Block:
    return replace(block, header=replace(block.header, **fields))


def fingerprint(state: State) -> tuple[Header, bytes, bytes, bytes, list[int], int]:
    """Everything that a refused block must leave as it was: head, words, digests, scratch."""
    memory = state.memory
    digests = sha256()
    for region in memory.tree.regions:
        for level in range(16):
            width = -(-region.leaves // 4**level)
            for index in range(width):
                digests.update(memory.tree.node(region.id, level, index))
            if width == 1:
                break
    marks = memory.S[layout.S_EVENT]
    words = bytes(memory.view())
    return state.head, state.head_hash, words, digests.digest(), memory.dirty_leaves(), marks
