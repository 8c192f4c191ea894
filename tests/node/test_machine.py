"""What a node takes from its machine: lanes that do not wait for each other, a quiet collector."""

import subprocess
import sys
import threading

import trio

from node.machine import RealMachine


async def test_the_journal_does_not_wait_for_the_disk() -> None:
    """A block that is being stored holds up other disk work, and no answer."""
    machine, done = RealMachine(), []
    begun, stuck = threading.Event(), threading.Event()

    def store() -> None:
        begun.set()
        stuck.wait()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.disk, store)
            await trio.to_thread.run_sync(begun.wait)
            nursery.start_soon(machine.disk, lambda: done.append("disk"))
            await machine.journal(lambda: done.append("journal"))
            stuck.set()
    assert done == ["journal", "disk"]


def test_a_settled_process_keeps_its_collector_away_from_what_it_is_made_of() -> None:
    """In a process of its own: the settings are the process's."""
    program = (
        "import gc, sys, node.process\n"
        "from node.interpreter import settle\n"
        "settle()\n"
        "print(gc.get_freeze_count() > 50_000, gc.isenabled(), sys.getswitchinterval() < 0.001)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"True"] * 3
