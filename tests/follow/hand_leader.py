"""A leader by hand: it makes good blocks, spoils them on demand, and serves what a test wants.

What lives here: blocks of a chain whose validators' secrets are known, and a peer that answers from
tables. What must never live here: an expectation.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from fleet import START_MS, Wallet, secret

from consensus import commands
from consensus.authority import VerifiedGroup, context_of, group_digest, verify_groups
from consensus.block import Block, block_hash
from consensus.chain import State, genesis_state
from consensus.commands import Group
from consensus.finality import bls
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import (
    SEAL_TAG,
    VOTE_TAG,
    Subject,
    Vote,
    certify,
    decode_vote,
    encode_certificate,
    text_of,
)
from consensus.genesis import Genesis
from consensus.layout import AT_ACCOUNTS
from consensus.proposal import Opening, Proposal
from consensus.signatures import address_words, recover_many, sign
from node.sealed_block import SealedBlock, encode_sealed
from p2p.exchange.blocks import decode_range
from p2p.exchange.status import Chain
from p2p.memory import World
from p2p.network import Head, Network, Refused
from p2p.settings import Settings
from p2p.topics import BLOCKS, BLOCKS_BY_RANGE, VOTES


def settings(world: World, genesis: Genesis, name: str, dial: Sequence[str] = ()) -> Settings:
    return Settings(
        chain=Chain(genesis.chain_id, 1, genesis.hash),
        dial=tuple(f"memory:{one}" for one in dial),
        chance=world.source("node", name, "").random,
    )


class HandChain:
    """A chain of blocks made here, each sealed by validator 0 and certified by all."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.validators = ValidatorSet(genesis.validators)
        self.state: State = genesis_state(genesis)
        self.wallets = [Wallet(number) for number in range(4)]
        self.blocks: dict[int, SealedBlock] = {}
        self._seals: dict[int, bytes] = {}

    def group(self, wallet: Wallet, *rows: bytes, expires_ms: int = 600_000) -> VerifiedGroup:
        """A signed group against the state as it is."""
        wallet.nonce += 1
        M = self.state.memory.M
        account = _account(self.state, wallet)
        group = Group(
            0, account, wallet.nonce, M[2] + expires_ms, address_words(wallet.owner), b"".join(rows)
        )
        digest = group_digest(M, context_of(self.state), group)
        pairs = [(group, sign(wallet.owner_key, digest))]
        verified = verify_groups(self.state, pairs, recover_many)[0]
        assert verified is not None
        return verified

    def order(self, number: int, side: int, price: int, lots: int = 10) -> VerifiedGroup:
        wallet = self.wallets[number]
        wallet.clients += 1
        return self.group(wallet, commands.place(0, side, wallet.clients, price, lots))

    def opening(self) -> Opening:
        head = self.state.head
        time = max(START_MS, head.time) + 250
        return Opening(time, head.l1_number, head.l1_hash, head.l1_time)

    def make(self, groups: Sequence[VerifiedGroup] = ()) -> Block:
        """The next good block, which becomes the head here."""
        proposal = Proposal(self.state, self.opening())
        for group in groups:
            proposal.add(group)
        block, _ = proposal.seal()
        return block

    def grow(self, blocks: int, orders: int = 2) -> None:
        """So many more good blocks of a few orders each."""
        for _ in range(blocks):
            price = 100 + self.state.head.height % 7
            groups = [self.order(n % 4, n % 2, price - 3 * (n % 2)) for n in range(orders)]
            self.keep(self.make(groups))

    def keep(self, block: Block) -> SealedBlock:
        sealed = self.sealed(block, certified=True)
        self.blocks[block.header.height] = sealed
        return sealed

    def sealed(self, block: Block, *, certified: bool = False) -> SealedBlock:
        subject = Subject(block.header.height, block.header.round, block_hash(block.header))
        seal = bls.sign(secret("validator 0"), self._text(SEAL_TAG, subject))
        return SealedBlock(block, seal, self.certificate(subject) if certified else b"")

    def certificate(self, subject: Subject, signers: Sequence[int] | None = None) -> bytes:
        text = self._text(VOTE_TAG, subject)
        votes = [
            Vote(subject, n, bls.sign(secret(f"validator {n}"), text))
            for n in (range(self.validators.quorum) if signers is None else signers)
        ]
        return encode_certificate(certify(self.validators, votes))

    def _text(self, tag: bytes, subject: Subject) -> bytes:
        return text_of(tag, self.genesis.hash, self.validators.hash, subject)


def _account(state: State, wallet: Wallet) -> int:
    M = state.memory.M
    words, at = address_words(wallet.owner), M[AT_ACCOUNTS]
    return next(n for n in range(64) if tuple(M[at + 32 * n + k] for k in range(3)) == words)


class HandPeer:
    """A peer that gossips what it is told, counts votes, and serves ranges from a table."""

    def __init__(self, network: Network, blocks: dict[int, SealedBlock]) -> None:
        self.network = network
        self.blocks = blocks
        self.votes: set[bytes] = set()
        self.asked: list[tuple[int, int]] = []
        self.spoil: Callable[[list[SealedBlock]], list[SealedBlock]] = lambda blocks: blocks
        self.refuses: Refused | None = None
        network.serve(BLOCKS_BY_RANGE, self._by_range)

    async def _by_range(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        wanted = decode_range(request)
        self.asked.append((wanted.first, wanted.blocks))
        if self.refuses is not None:
            raise self.refuses
        heights = range(wanted.first, wanted.first + wanted.blocks)
        for sealed in self.spoil([self.blocks[h] for h in heights if h in self.blocks]):
            yield encode_sealed(sealed)

    def announce(self, height: int) -> None:
        """Say that this is our head."""
        self.network.announce(Head(height, bytes(32), height))

    async def publish(self, sealed: SealedBlock) -> None:
        await self.network.publish(BLOCKS, encode_sealed(sealed))

    async def listen(self) -> None:
        async for message in self.network.subscribe(VOTES):
            self.votes.add(decode_vote(message.data).subject.hash)


def spoiled(block: Block, **fields: object) -> Block:
    """The block with other header fields; sealed again it is the leader's own lie."""
    return replace(block, header=replace(block.header, **fields))  # type: ignore[arg-type]
