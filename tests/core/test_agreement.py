"""Core, naive twin and generated C give the same events and the same words, byte for byte.

The short form sends 100,000 messages, the long form ten million, in five venues. Both print what
they reached and fail if any number of the protocol is missing.
"""

from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import pytest
from agreement import Run
from executors import library
from reached import Reached, missing, table
from venues import VENUES

PROCESSES = 2
SEED = 20_260_502


class Job(NamedTuple):
    """One run in a process of its own."""

    venue: str
    seed: int
    messages: int
    groups_max: int
    modes: tuple[str, ...]
    with_twin: bool


class Done(NamedTuple):
    """What a job came to."""

    messages: int
    blocks: int
    reached: Reached


def play(job: Job) -> Done:
    run = Run(
        VENUES[job.venue],
        job.seed,
        job.modes,
        with_twin=job.with_twin,
        groups_max=job.groups_max,
    )
    run.play(job.messages)
    return Done(run.messages, run.blocks, run.reached)


def jobs(*, long: bool, compiled: bool) -> list[Job]:
    """Interpreted, C in one mode is enough: the rest is compared with it when compiled."""
    seeds, messages, groups_max = (20, 100_000, 400) if long and compiled else (1, 20_000, 90)
    modes = ("plain", "overflow") if compiled else ("plain",)
    return [
        Job(venue, SEED + n, messages, groups_max, modes, compiled)
        for n in range(seeds)
        for venue in VENUES
    ]


@pytest.mark.slow
def test_the_executions_agree_and_reach_every_number_of_the_protocol(
    long_run: bool, core_is_compiled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = jobs(long=long_run, compiled=core_is_compiled)
    for mode in chosen[0].modes:
        library(mode)  # compiled here, once, not in each process
    with ProcessPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(play, chosen))
    reached: Reached = Reached()
    for each in done:
        reached.update(each.reached)
    messages, blocks = sum(each.messages for each in done), sum(each.blocks for each in done)
    with capsys.disabled():
        print(f"\n{messages:,} messages, {blocks:,} blocks, seeds from {SEED}, {len(done)} runs")
        print(table(reached))
    assert messages >= sum(job.messages for job in chosen)
    assert not missing(reached)
