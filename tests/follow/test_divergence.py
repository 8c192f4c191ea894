"""A bit that flips in a follower's memory is found and named; nobody else is blamed for it."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import trio
from fleet import Fleet, SimulatedMachine, fleet_genesis, secret, until
from hand_leader import HandChain, HandPeer, settings

from consensus import layout
from consensus.finality import bls
from node.app import Keys, Node, ValidatorKey
from node.divergence import MEMORY_DIFFERS, SHARE_LEAVES, STORED_DIFFERS, Diverged
from node.field_names import FIELDS, Field, FieldNames
from node.signer import signs_with
from p2p.memory import World
from storage import schema
from storage.disk import MemoryDisk

BLOCKS_BEFORE = 5
PRICE, LOTS = 200, 10


class Bench:
    """One validating follower, a leader by hand, and what the node died of."""

    def __init__(self) -> None:
        self.genesis = fleet_genesis(validators=4)
        self.chain = HandChain(self.genesis)
        self.chain.grow(BLOCKS_BEFORE - 1)
        self.chain.keep(self.chain.make([self.chain.order(0, layout.SELL, PRICE, LOTS)]))
        self.disk = MemoryDisk()
        self.died: Diverged | None = None
        self.spoil: Callable[[], object] = lambda: None

    async def run(self, word: int | None, bit: int = 0, *, crossing: bool = False) -> None:
        """Some blocks, the flip, then more, the first of which may take the resting order."""
        world = World(1)
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            networks = [
                await stack.enter_async_context(
                    world.network(name, settings(world, self.genesis, name, dial))
                )
                for name, dial in (("leader", []), ("node", ["leader"]))
            ]
            leader = HandPeer(networks[0], self.chain.blocks)
            nursery.start_soon(leader.listen)
            machine, key = SimulatedMachine(), secret("validator 1")
            voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
            node = Node(
                self.genesis, self.disk, networks[1], machine, Keys(voter), leads=False
            )
            nursery.start_soon(self._live, node)
            leader.announce(BLOCKS_BEFORE)
            await until(lambda: node.chain.state.head.height == BLOCKS_BEFORE)
            await trio.sleep(1)
            self.node = node
            self.spoil()
            if word is not None:
                M = node.chain.state.memory.M
                M[word] = int(M[word]) ^ 1 << bit
            self.votes = leader.votes
            for _ in range(4):
                groups = [self.chain.order(1, layout.BUY, PRICE)] if crossing else []
                self.chain.keep(self.chain.make(groups))
                height = self.chain.state.head.height
                leader.announce(height)
                await leader.publish(self.chain.blocks[height])
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    async def _live(self, node: Node) -> None:
        try:
            await node.run()
        except* Diverged as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, Diverged)
            self.died = error


async def test_a_flipped_bit_that_no_block_touches_is_found_and_named(
    autojump_clock: object,
) -> None:
    """The share that is rehashed after the next block finds it, before that block's vote."""
    bench = Bench()
    M = bench.chain.state.memory.M
    word = M[layout.AT_ACCOUNTS] + 32 * 1 + layout.ACCOUNT_TIER
    assert len(M) >> layout.LEAF_SHIFT <= SHARE_LEAVES
    before = int(M[word])
    await bench.run(word, 3)
    died = bench.died
    assert died is not None and died.number == MEMORY_DIFFERS
    assert died.height == BLOCKS_BEFORE + 1
    (found,) = died.differences
    assert found.field == Field(None, "account 1", "TIER")
    assert (found.word, found.expected, found.seen) == (word, before, before ^ 8)
    assert "account 1, TIER is 8, must be 0" in died.text
    hashed = bench.chain.blocks[BLOCKS_BEFORE + 1].subject.hash
    assert hashed not in bench.votes, "it voted with a damaged memory"


async def test_a_flipped_bit_that_a_block_runs_into_is_not_blamed_on_the_leader(
    autojump_clock: object,
) -> None:
    """The operation at which the results part is named, and the word that made them part."""
    bench = Bench()
    word = resting_lots(bench.chain)
    await bench.run(word, 1, crossing=True)
    died = bench.died
    assert died is not None and died.number == MEMORY_DIFFERS
    assert died.height == BLOCKS_BEFORE, "the state of the last good block"
    assert bench.node.follower is not None and not bench.node.follower.breaches
    (found,) = died.differences
    assert found.field.market == 0 and found.field.field == "VISIBLE"
    assert found.field.record.startswith("order ")
    assert (found.expected, found.seen) == (LOTS, LOTS ^ 2)
    taker = bench.chain.blocks[BLOCKS_BEFORE + 1].block.header.sequence
    assert died.operation == taker
    assert f"block {BLOCKS_BEFORE + 1} goes wrong at operation {taker}" in died.text


def resting_lots(chain: HandChain) -> int:
    """The word of the visible lots of the one order that rests."""
    M = chain.state.memory.M
    k = chain.state.memory.tree.regions[1].base
    first = k + M[k + layout.BOOK_AT_POOL]
    orders = range(first, first + 64 * layout.ORDER_WORDS, layout.ORDER_WORDS)
    words = [at + layout.ORDER_VISIBLE for at in orders]
    (found,) = [word for word in words if M[word] == LOTS]
    return found


async def test_a_restart_replays_from_what_is_stored(autojump_clock: object) -> None:
    """The stored state never had the fault: the same disk comes up sound."""
    bench = Bench()
    M = bench.chain.state.memory.M
    await bench.run(M[layout.AT_ACCOUNTS] + 32 + layout.ACCOUNT_TIER, 3)
    assert bench.died is not None
    bench.disk.close()
    world = World(2)
    async with world.network("node", settings(world, bench.genesis, "node")) as network:
        node = Node(bench.genesis, bench.disk, network, SimulatedMachine(), Keys(), leads=False)
    assert node.chain.state.head == bench.chain.blocks[BLOCKS_BEFORE + 1].block.header


async def test_a_damaged_tree_is_told_from_a_damaged_word(autojump_clock: object) -> None:
    bench = Bench()

    def spoil() -> None:
        """One bit of a digest that no block touches."""
        page = bench.node.chain.state.memory.tree._subtrees[0].levels[0][0]
        assert page is not None
        leaf = int(bench.chain.state.memory.M[layout.AT_ACCOUNTS]) // layout.LEAF_WORDS
        page[32 * leaf] ^= 1

    bench.spoil = spoil
    await bench.run(None)
    assert bench.died is not None and bench.died.number == MEMORY_DIFFERS
    assert bench.died.differences == () and "only the tree" in bench.died.text


async def test_a_disk_that_is_damaged_too_is_said_to_be(autojump_clock: object) -> None:
    bench = Bench()
    leaf = schema.leaf_key(int(bench.chain.state.memory.M[layout.AT_ACCOUNTS]) // 32)

    def spoil() -> None:
        bench.disk._database.write([(leaf, b"\1" * 256)], sync=True)

    bench.spoil = spoil
    word = bench.chain.state.memory.M[layout.AT_ACCOUNTS] + 32 + layout.ACCOUNT_TIER
    await bench.run(word, 3)
    assert bench.died is not None and bench.died.number == STORED_DIFFERS
    assert "restore a backup" in bench.died.text


async def test_a_leader_looks_before_it_signs(autojump_clock: object) -> None:
    """The block that was sealed over a damaged memory is neither kept nor told."""
    fleet = Fleet(fleet_genesis(validators=1))
    head = 0
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            leader = await fleet.start(nursery, 0)
            await until(lambda: leader.chain.state.head.height == 3)
            await until(lambda: leader.chain.certified == 3)
            head = leader.chain.blocks.head().height
            M = leader.chain.state.memory.M
            word = M[layout.AT_ACCOUNTS] + 32 + layout.ACCOUNT_TIER
            M[word] = int(M[word]) ^ 8
            await trio.sleep(60)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Diverged) and error.number == MEMORY_DIFFERS
    assert error.height == head + 1 == 4
    assert "between ledger, account 1, ADDRESS and ledger, account 1" in error.text
    assert leader.chain.blocks.head().height == head


async def test_a_sound_node_finds_nothing(autojump_clock: object) -> None:
    bench = Bench()
    await bench.run(None, crossing=True)
    assert bench.died is None
    assert bench.node.chain.state.head == bench.chain.state.head


def test_every_word_has_a_name() -> None:
    """No word of the state is nameless, and the names of records are those of the layout."""
    chain = HandChain(fleet_genesis(validators=4))
    chain.grow(2)
    memory = chain.state.memory
    known = FieldNames(memory)
    names = {str(known.of(word)) for word in range(0, memory.M[layout.END], 7)}
    assert len(names) > 100
    for word, expected in (
        (layout.SEQUENCE, "ledger, header, SEQUENCE"),
        (memory.M[layout.AT_BALANCES] + 8 * 5 + 1, "ledger, balance 5, LOCKED"),
        (memory.tree.regions[1].base + layout.BOOK_LAST, "market 0, header, LAST"),
    ):
        assert str(known.of(word)) == expected


@pytest.mark.parametrize("name", ["KEY", "ORDER", "BALANCE", "TRADER", "LEVEL", "ACCOUNT"])
def test_the_table_of_names_lists_every_field_of_the_layout(name: str) -> None:
    """A field that is added to a record and not named here would be reported as a neighbour's."""
    prefix, names = FIELDS[name.lower()]
    for field in names:
        assert isinstance(getattr(layout, prefix + field), int)
