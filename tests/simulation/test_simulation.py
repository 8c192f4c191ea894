"""Chains under every fault hold, and one seed is one run."""

import os
import subprocess
import sys

import pytest

from node.simulation.simulate import Plan, simulate
from node.simulation.trouble import ALL


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    one, two, other = (simulate(Plan(seed, 0.05)) for seed in (11, 11, 12))
    assert one == two
    assert one.trace != other.trace
    assert one.promises > 0 and one.crashes > 0


def test_chains_under_all_faults_hold(long_run: bool) -> None:
    """Prints what repeats a run that fails."""
    for seed in range(100, 200 if long_run else 102):
        plan = Plan(seed, 5.0 if long_run else 0.1)
        print(plan.command)
        report = simulate(plan)
        assert report.certified > 100 * plan.hours
        assert report.promises > 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL)
def test_each_fault_alone_holds(fault: str) -> None:
    simulate(Plan(7, 0.1, (fault,)))


@pytest.mark.slow
def test_with_real_signatures_it_holds_too() -> None:
    simulate(Plan(8, 0.05, real_signatures=True))


@pytest.mark.slow
def test_the_trace_does_not_depend_on_the_process() -> None:
    command = [sys.executable, "-m", "node.simulation", "--seed", "13", "--hours", "0.03"]
    traces = set()
    for number in "12":
        environment = os.environ | {"PYTHONHASHSEED": number}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        traces.add(done.stdout.split()[-1])
    assert len(traces) == 1


def test_a_failure_prints_the_command_that_repeats_it() -> None:
    plan = Plan(3, 0.5, ("loss", "crash"))
    assert plan.command == "scripts/simulate --seed 3 --hours 0.5 --faults loss,crash"
    assert Plan(4).command == "scripts/simulate --seed 4 --hours 1 --faults all"
