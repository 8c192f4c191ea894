"""Processes that are killed, and disks that lie: what was promised is in the chain."""

import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from real_fleet import NODES, ORDERS_PER_GROUP, RealFleet, Trader

from consensus.finality.promises import verify
from consensus.signatures import address_of, public_key_of, recover_many
from node.key_files import read_or_make_promiser
from node.simulation.witness import Placed, placed
from storage.disk import DATABASE, SIGNED, SNAPSHOTS, DirectoryDisk
from storage.exceptions import StorageError
from storage.last_signed import LastSigned
from storage.recovery import Chain, recover_chain
from storage.snapshots import Snapshots


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.usefixtures("validators_core")
def test_what_a_leader_promised_before_kill_9_is_in_the_chain(
    tmp_path: Path, long_run: bool
) -> None:
    """At random moments under load: at its place, with its result, on every node."""
    kills, chance = 200 if long_run else 5, random.Random(3)
    fleet = RealFleet(tmp_path)
    traders = [Trader(fleet, number) for number in range(4)]
    try:
        for number in range(NODES):
            fleet.start(number)
        began = time.monotonic()
        for trader in traders:
            trader.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 3))
            fleet.kill(0)
            fleet.start(0)
        time.sleep(2)
        for trader in traders:
            trader.stop.set()
        for trader in traders:
            trader.join(60)
        took = time.monotonic() - began
        promises = [promise for trader in traders for promise in trader.promises]
        last = max(promise.record.height for promise in promises)
        wait_for(fleet, last)
        assert fleet.end(0) == 0
        for number in range(1, NODES):
            fleet.end(number)
    finally:
        fleet.close()
    print(f"{kills} kills, {len(promises) * ORDERS_PER_GROUP} orders promised in {took:.0f} s")
    print("refusals:", [trader.refusals for trader in traders])
    chains = [chain_of(fleet, number) for number in range(NODES)]
    promiser = address_of(public_key_of(read_or_make_promiser(tmp_path / "node0/promiser.key")))
    places = places_in(chains[0], last)
    for promise in promises:
        record = verify(promise, fleet.genesis.hash, promiser)
        made = Placed(record.height, record.operations, record.command, record.result)
        assert places[record.sequence] == made
    for height in range(1, last + 1):
        headers = [chain.blocks.header(height) for chain in chains]
        assert all(header == headers[0] for header in headers), height


def wait_for(fleet: RealFleet, height: int) -> None:
    """Until every node has certified the block."""
    end = time.monotonic() + 120
    while True:
        certified = [fleet.call(n, "chain_status")["certified"] for n in range(NODES)]
        if min(certified) >= height:
            return
        assert time.monotonic() < end, f"certified {certified}, wanted {height}"
        time.sleep(0.2)


def chain_of(fleet: RealFleet, number: int) -> Chain:
    """What a stopped node has on its disk, every root of it compared again."""
    disk = DirectoryDisk(fleet.path / f"node{number}")
    snapshots = Snapshots(disk.files(SNAPSHOTS))
    return recover_chain(fleet.genesis, disk.database(), snapshots, recover=recover_many)


def places_in(chain: Chain, last: int) -> dict[int, Placed]:
    found: dict[int, Placed] = {}
    for height in range(1, last + 1):
        found.update(placed(chain.blocks.block(height), chain.blocks.events(height)))
    return found


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.usefixtures("validators_core")
def test_flipped_bytes_in_a_nodes_database_are_refused_or_harmless(
    tmp_path: Path, long_run: bool
) -> None:
    """Never silently wrong: a start fails with a number, or has the chain that it had."""
    fleet = RealFleet(tmp_path)
    trader = Trader(fleet, 0)
    try:
        for number in range(NODES):
            fleet.start(number)
        trader.start()
        time.sleep(3)
        trader.stop.set()
        trader.join(60)
        wait_for(fleet, max(promise.record.height for promise in trader.promises))
        for number in range(NODES):
            fleet.end(number)
    finally:
        fleet.close()
    good = chain_of(fleet, 1)
    untouched = shutil.copytree(tmp_path / "node2", tmp_path / "untouched")
    assert outcome_of(fleet, DirectoryDisk(untouched), good) == "whole"
    chance, outcomes = random.Random(5), Counter[str]()
    for n in range(200 if long_run else 40):
        copy = shutil.copytree(tmp_path / "node2", tmp_path / f"copy{n}")
        path = chance.choice([path for path in database_files(copy) if path.stat().st_size])
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        outcomes[outcome_of(fleet, DirectoryDisk(copy), good)] += 1
        shutil.rmtree(copy)
    print(dict(outcomes))
    assert outcomes["refused"] > 0


def database_files(path: Path) -> list[Path]:
    return sorted(path for path in (path / DATABASE).iterdir() if path.suffix in (".log", ".ldb"))


def outcome_of(fleet: RealFleet, disk: DirectoryDisk, good: Chain) -> str:
    """`refused`, or `whole`: the validator's start succeeds, with the chain that it had."""
    try:
        snapshots = Snapshots(disk.files(SNAPSHOTS))
        chain = recover_chain(fleet.genesis, disk.database(), snapshots, recover=recover_many)
        LastSigned(disk.files(SIGNED), fleet.genesis.hash).check_head(chain.state.head.height)
    except StorageError:
        return "refused"
    finally:
        disk.close()
    assert chain.state.head == good.blocks.header(chain.state.head.height)
    return "whole"
