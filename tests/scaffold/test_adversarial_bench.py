"""`rialto bench matcher --adversarial` as a function: every load and attack is measured."""

import pytest

from node.bench import adversarial
from node.bench.figures import judge


@pytest.mark.slow
def test_the_adversarial_bench_measures_every_bar() -> None:
    steps: list[int] = []
    report = adversarial.bench(1000, 1, 1, steps.append)
    assert len(steps) == adversarial.STEPS
    judged = judge(report, adversarial.BARS)
    for key in adversarial.BARS:
        verdict = judged[key]
        assert isinstance(verdict, dict) and isinstance(verdict["measured"], int | float), key
    assert "1,000 honest messages" in str(report["workload"])
