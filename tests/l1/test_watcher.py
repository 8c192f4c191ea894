"""The watcher follows L1 by hash: reorganisations, bad servers, outages, restarts."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
import trio
from bridge_chain import ETH, OWNERS, USD, WINDOW, Bridge
from l1_wallets import new_l1

from consensus.rollup.origin import Item
from node.exceptions import NodeError
from node.l1 import watcher as watching
from node.l1.client import L1_MALFORMED
from node.l1.deployment import DEPLOYMENT_OTHER
from node.l1.facts import L1_INCONSISTENT
from node.l1.surface import L1, REFUSED, L1Error
from node.l1.watcher import L1_REWOUND, L1_UNFINAL, Watcher
from node.simulation.machine import SimulatedMachine
from storage.disk import MemoryDisk
from storage.exceptions import StorageRefused
from storage.l1_facts import FOREIGN_CONTRACT, L1Facts

DEPTHS: Final = (1, 2, 5, 10)


class TamperedL1:
    """An L1 whose answers pass through `change(method, params, answer)`. `asked`: the methods."""

    def __init__(self, l1: L1) -> None:
        self._l1 = l1
        self.asked: list[str] = []
        self.change: Callable[[str, tuple[Any, ...], Any], Any] = lambda m, p, answer: answer

    async def request(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        return self.change(method, params, await self._l1.request(method, *params))


@dataclass
class Scene:
    bridge: Bridge
    l1: TamperedL1
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    alarms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watcher = self.started()

    def started(self) -> Watcher:
        """As after a restart, on the same disk."""
        store = L1Facts(self.disk.database(), self.bridge.address)
        return Watcher(
            self.l1, self.bridge.deployment, self.bridge.chain.genesis, store, SimulatedMachine(),
            self.alarms.append,
        )  # fmt: skip

    def restart(self) -> None:
        self.disk.crash()
        self.watcher = self.started()

    @property
    def chain(self) -> Any:
        return self.bridge.wallets.l1.chain

    async def agrees(self) -> bool:
        """Whether the facts are the contract's own figures, after a look."""
        await self.watcher.look()
        tip = self.watcher.facts.latest
        names = ("queue_length", "committed", "finalized", "frozen")
        return (tip.items, tip.committed, tip.finalized, tip.frozen) == tuple(
            map(self.bridge.read, names)
        )


def scene(**settings: Any) -> Scene:
    l1 = new_l1(*OWNERS, "guardian", "governor", "stranger", **settings)
    bridge = Bridge(l1=l1)
    return Scene(bridge, TamperedL1(l1))


async def refused(found: Scene, number: int) -> NodeError:
    """The look fails by this number, and leaves every fact as it was."""
    facts = found.watcher.facts
    before = facts.finalized, facts.final
    with pytest.raises(NodeError) as caught:
        await found.watcher.look()
    assert caught.value.number == number, caught.value
    assert (facts.finalized, facts.final) == before
    return caught.value


async def test_items_are_latest_at_once_and_final_when_the_l1_says_so() -> None:
    found = scene()
    facts = found.watcher.facts
    found.bridge.deposit("owner 2", ETH, 100)
    found.bridge.deposit("owner 3", ETH, 7)
    assert await found.agrees()
    assert (facts.latest.items, facts.final.items) == (2, 0)
    assert facts.items(0, 9) == []
    found.chain.finalize()
    assert await found.agrees()
    assert [item.rows for item in facts.items(0, 9)] == [one.rows for one in found.bridge.items]
    assert [item.index for item in facts.items(1, 9)] == [1]
    assert facts.finalized is not None
    assert facts.finalized.number == found.chain.finalized_number


async def test_a_look_at_an_unchanged_l1_tells_nothing_new() -> None:
    found = scene()
    assert await found.watcher.look()
    assert not await found.watcher.look()


@pytest.mark.parametrize("depth", DEPTHS)
async def test_what_a_reorganisation_dropped_is_forgotten(depth: int) -> None:
    found = scene(epoch_blocks=8)
    bridge, facts = found.bridge, found.watcher.facts
    found.chain.mine(16)
    bridge.deposit("owner 2", ETH, 100)
    found.chain.mine(depth - 1)
    assert await found.agrees()
    found.chain.reorganise(depth, keep_dropped=False)
    bridge.items.clear()
    assert await found.agrees()
    assert facts.latest.items == 0
    assert found.watcher.reorganisations == 1 and found.watcher.dropped_blocks == depth
    bridge.deposit("owner 3", ETH, 7)
    found.chain.finalize()
    assert await found.agrees()
    assert [item.rows for item in facts.items(0, 9)] == [bridge.items[0].rows]
    assert found.watcher.reorganisations == 1


async def test_batches_are_committed_finalized_and_reverted_with_the_l1() -> None:
    found = scene(epoch_blocks=8)
    bridge, facts = found.bridge, found.watcher.facts
    bridge.deposit("owner 2", ETH, 100)
    bridge.block()
    posted = bridge.commit()
    assert await found.agrees()
    batch = facts.batch(1)
    assert batch is not None and facts.final_batch(1) is None
    assert (batch.last_hash, batch.finalized_in) == (posted.summary.last_hash, 0)
    bridge.later(WINDOW)
    bridge.finalize()
    assert await found.agrees()
    batch = facts.batch(1)
    assert batch is not None and batch.finalized_in == found.chain.head.block_number
    found.chain.finalize()
    assert await found.agrees()
    assert facts.final_batch(1) == batch and facts.final.finalized == 1
    bridge.block()
    bridge.commit()
    assert await found.agrees() and facts.latest.committed == 2
    bridge.do("guardian", "revert_by_guardian", 2, bridge.summaries[2])
    assert await found.agrees()
    assert facts.batch(2) is None and facts.batch(1) == batch
    found.chain.finalize()
    assert await found.agrees() and facts.final_batch(2) is None


async def test_a_reorganisation_takes_a_commit_and_its_finalization_back() -> None:
    found = scene(epoch_blocks=8)
    bridge, facts = found.bridge, found.watcher.facts
    found.chain.mine(16)
    bridge.block()
    bridge.commit()
    assert await found.agrees()
    bridge.later(WINDOW)
    bridge.finalize()
    assert await found.agrees() and facts.latest.finalized == 1
    found.chain.reorganise(1, keep_dropped=False)
    assert await found.agrees() and facts.latest.finalized == 0
    committed = facts.batch(1)
    assert committed is not None and committed.finalized_in == 0
    found.chain.reorganise(4, keep_dropped=False)
    assert await found.agrees() and facts.latest.committed == 0 and facts.batch(1) is None


async def test_a_frozen_contract_is_known_to_be_and_its_unfinal_batches_are_gone() -> None:
    found = scene()
    bridge = found.bridge
    bridge.block()
    bridge.commit()
    bridge.deposit("owner 2", ETH, 100)
    bridge.later(bridge.settings.freeze_after_s + 1)
    assert await found.agrees()
    bridge.freeze()
    assert await found.agrees()
    tip = found.watcher.facts.latest
    assert tip.frozen and tip.committed == 0
    found.chain.finalize()
    assert await found.agrees() and found.watcher.facts.final.frozen


async def test_a_restart_goes_on_from_what_is_stored() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    found.chain.finalize()
    await found.watcher.look()
    kept = found.watcher.facts.finalized
    found.restart()
    facts = found.watcher.facts
    assert facts.finalized == kept and facts.final.items == 1 and len(facts.items(0, 9)) == 1
    found.bridge.deposit("owner 2", ETH, 1)
    found.chain.finalize()
    assert await found.agrees() and facts.final.items == 2


async def test_facts_of_another_contract_are_refused() -> None:
    found = scene()
    found.chain.finalize()
    await found.watcher.look()
    found.disk.crash()
    with pytest.raises(StorageRefused) as caught:
        L1Facts(found.disk.database(), bytes(20))
    assert caught.value.number == FOREIGN_CONTRACT


@pytest.mark.parametrize("refuses", [False, True], ids=["null", "error"])
async def test_a_fresh_chain_without_safe_and_finalized_blocks_is_followed(refuses: bool) -> None:
    found = scene()

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] in ("safe", "finalized"):
            if refuses:
                raise L1Error(REFUSED, "finalized block not found")
            return None
        return answer

    found.l1.change = change
    found.bridge.deposit("owner 2", ETH, 100)
    assert await found.agrees()
    assert found.watcher.facts.finalized is None and found.watcher.facts.safe == 0


def without_logs(drop: Callable[[int], bool]) -> Callable[[str, tuple[Any, ...], Any], Any]:
    """Leaves out `Queued` logs by index."""

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        if method != "eth_getLogs":
            return answer
        return [
            one
            for one in answer
            if len(one["topics"]) < 3 or not drop(int(one["topics"][1], 16))
        ]

    return change


@pytest.mark.parametrize("lost", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("is_final", [False, True], ids=["window", "final"])
async def test_a_server_that_leaves_logs_out_is_noticed_before_anything_is_believed(
    lost: int, is_final: bool
) -> None:
    found = scene()
    for _ in range(3):
        found.bridge.deposit("owner 2", ETH, 100)
    if is_final:
        found.chain.finalize()
    found.l1.change = without_logs(lambda index: index == lost)
    for _ in range(2):
        await refused(found, L1_INCONSISTENT)
    found.l1.change = lambda method, params, answer: answer
    assert await found.agrees()


async def test_a_changed_item_is_noticed_by_its_queue_hash() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        if method == "eth_getLogs" and answer and len(answer[0]["topics"]) == 3:
            data = answer[0]["data"]
            answer[0]["data"] = data[:-200] + "1" + data[-199:]
        return answer

    found.l1.change = change
    await refused(found, L1_INCONSISTENT)


async def test_a_server_that_refuses_long_ranges_is_asked_for_shorter_ones() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    found.chain.mine(20)

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            if int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) > 3:
                raise L1Error(-32005, "query returned more than 10000 results")
        return answer

    found.l1.change = change
    assert await found.agrees() and found.watcher.facts.final.items == 1


async def test_a_finalized_block_that_changed_is_another_l1() -> None:
    found = scene()
    found.chain.finalize()
    assert await found.agrees()
    point = found.watcher.facts.finalized
    assert point is not None
    found.chain.mine(20)

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == hex(point.number):
            return answer | {"hash": "0x" + "77" * 32}
        return answer

    found.l1.change = change
    found.restart()
    error = await refused(found, L1_REWOUND)
    assert str(point.number) in error.text


async def test_an_l1_that_goes_back_behind_what_was_final_is_waited_for() -> None:
    found = scene()
    found.chain.finalize()
    assert await found.agrees()
    kept = found.watcher.facts.finalized
    old = found.bridge.wallets.l1.answer("eth_getBlockByNumber", "0x1")

    def change(method: str, params: tuple[Any, ...], answer: Any) -> Any:
        return old if params and params[0] in ("latest", "safe", "finalized") else answer

    found.l1.change = change
    assert not await found.watcher.look()
    assert found.watcher.facts.finalized == kept


async def test_too_many_blocks_without_finality_are_refused_by_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "WINDOW_BLOCKS_MAX", 20)
    found = scene(epoch_blocks=32)
    found.chain.mine(30)
    await refused(found, L1_UNFINAL)


@pytest.mark.parametrize("method", ["eth_getBlockByNumber", "eth_getLogs", "eth_call"])
@pytest.mark.parametrize("answer", ["0x", 7, {"number": "0x"}, [{"topics": 3}], "zz", None])
async def test_an_answer_of_no_meaning_is_refused_by_number(method: str, answer: object) -> None:
    found = scene()
    await found.watcher.look()
    found.bridge.deposit("owner 2", ETH, 100)
    found.l1.change = lambda asked, params, good: answer if asked == method else good
    if (method, answer) == ("eth_getBlockByNumber", None):
        assert not await found.watcher.look()  # there is no such block
        return
    await refused(found, L1_MALFORMED)


async def test_a_log_of_no_meaning_is_refused_by_number() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    changes: list[dict[str, object]] = [
        {"data": "0x"}, {"data": "0x12"}, {"blockNumber": None}, {"topics": [7]},
    ]  # fmt: skip

    def change(method: str, params: tuple[Any, ...], good: Any) -> Any:
        return [one | changes[-1] for one in good] if method == "eth_getLogs" else good

    found.l1.change = change
    while changes:
        await refused(found, L1_MALFORMED)
        changes.pop()


async def test_orphans_may_be_an_error_or_empty(autojump_clock: object) -> None:
    """The block is replaced between the request for it and the one for its logs."""
    for raises in (True, False):
        found = scene()
        found.bridge.deposit("owner 2", ETH, 100)
        chain, is_done = found.chain, list[int]()

        def change(
            method: str, params: tuple[Any, ...], answer: Any, raises: bool = raises,
            chain: Any = chain, is_done: list[int] = is_done,
        ) -> Any:  # fmt: skip
            if method == "eth_getLogs" and not is_done and answer:
                is_done.append(1)
                chain.reorganise(1)
                if raises:
                    raise L1Error(REFUSED, "unknown block")
                return []
            return answer

        found.l1.change = change
        with pytest.raises(NodeError):
            await found.watcher.look()
        found.chain.mine()
        assert await found.agrees() and found.watcher.facts.latest.items == 1


async def test_a_watcher_says_why_it_has_no_news_and_alarms_once(autojump_clock: object) -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    found.l1.change = without_logs(lambda index: True)
    watcher = found.watcher
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        await trio.sleep(30)
        assert "left logs out" in watcher.problem and watcher.silent_s() >= 29
        assert found.alarms == []
        await trio.sleep(60)
        assert len(found.alarms) == 1
        found.l1.change = lambda method, params, answer: answer
        await watcher.changed()
        await trio.sleep(2)
        assert watcher.problem == "" and watcher.silent_s() < 2
        nursery.cancel_scope.cancel()


async def test_another_chains_contract_ends_the_node_by_number(autojump_clock: object) -> None:
    found = scene()
    other = replace(found.bridge.deployment, settings=replace(
        found.bridge.settings, deadline_s=3601))  # fmt: skip
    store = L1Facts(MemoryDisk().database(), found.bridge.address)
    watcher = Watcher(
        found.l1, other, found.bridge.chain.genesis, store, SimulatedMachine(), print
    )
    with pytest.raises(NodeError) as caught:
        await watcher.run()
    assert caught.value.number == DEPLOYMENT_OTHER


async def test_a_bridged_chain_with_genesis_deposits_is_refused_by_number() -> None:
    found = scene()
    genesis = found.bridge.chain.genesis
    rich = replace(genesis, deposits=(next(iter(rich_deposits())),))
    watcher = Watcher(
        found.l1, found.bridge.deployment, rich, L1Facts(MemoryDisk().database(), genesis.contract),
        SimulatedMachine(), print,
    )  # fmt: skip
    with pytest.raises(NodeError) as caught:
        await watcher.run()
    assert caught.value.number == DEPLOYMENT_OTHER and "begins empty" in caught.value.text


def rich_deposits() -> list[Any]:
    from consensus.genesis import Deposit

    return [Deposit(bytes([1] * 20), USD, 5)]


class Peeking(SimulatedMachine):
    """Lets somebody look between a disk's work and whoever waits for it."""

    peek: Callable[[], object] = staticmethod(lambda: None)

    async def disk(self, work: Callable[[], Any]) -> Any:
        result = work()
        self.peek()
        return result


async def test_an_item_is_known_from_the_moment_it_is_stored() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    found.chain.finalize()
    bridge, machine = found.bridge, Peeking()
    store = L1Facts(MemoryDisk().database(), bridge.address)
    watcher = Watcher(
        found.l1, bridge.deployment, bridge.chain.genesis, store, machine, found.alarms.append
    )
    seen: list[int] = []
    machine.peek = lambda: seen.append(watcher.facts.known_since(0))
    await watcher.look()
    assert len(seen) == 1


async def test_known_since_counts_from_the_start_for_what_was_stored() -> None:
    found = scene()
    found.bridge.deposit("owner 2", ETH, 100)
    found.chain.finalize()
    await found.watcher.look()
    first = found.watcher.facts.known_since(0)
    await trio.sleep(0.02)
    found.restart()
    assert found.watcher.facts.known_since(0) > first
    assert isinstance(found.watcher.facts.items(0, 1)[0], Item)
