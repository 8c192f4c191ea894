"""Figures: from samples to percentiles and rates, and from figures to "is the bar met"."""

import pytest

from node.bench.figures import (
    AT_LEAST,
    AT_MOST,
    EXACTLY,
    flattened,
    judge,
    percentile,
    percentiles,
    rate,
    rounded,
    table,
)

REPORT: dict[str, object] = {
    "normal": {"ops_per_s": 2_500_000.0, "p99_ns": 400},
    "digest": "ab" * 32,
    "machine": {"cpu": "one", "cores": 2},
    "workload": "seed 1; some orders",
}


def test_a_rate_is_the_median_of_the_rounds_beside_the_best() -> None:
    assert rate(1000, [2000, 1000, 4000]) == (5e8, 1e9)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0), (0.5, 50), (0.99, 99), (0.999, 99), (1.0, 99)]
)
def test_a_percentile_is_a_sample(share: float, expected: int) -> None:
    assert percentile(range(100), share) == expected


def test_percentiles_do_not_depend_on_the_order_of_the_samples() -> None:
    samples = [7, 3, 900, 5, 1]
    expected = {"p50_ns": 5, "p99_ns": 900, "p999_ns": 900}
    assert percentiles(samples) == percentiles(sorted(samples)) == expected


def test_four_digits_are_kept() -> None:
    assert rounded(1_234_567.0) == 1_235_000.0
    assert rounded(0.123449) == 0.1234


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        ((AT_LEAST, 2_500_000), True),
        ((AT_LEAST, 2_500_001), False),
        ((AT_MOST, 2_500_000), True),
        ((AT_MOST, 2_499_999), False),
        ((EXACTLY, 2_500_000), True),
        ((EXACTLY, 2_500_001), False),
    ],
)
def test_a_bar_is_met_up_to_its_limit(bar: tuple[str, float], met: bool) -> None:
    judged = judge(REPORT, {"normal.ops_per_s": bar})["normal.ops_per_s"]
    assert isinstance(judged, dict)
    assert judged["met"] is met
    assert judged["measured"] == 2_500_000.0


@pytest.mark.parametrize(("digest", "met"), [("ab" * 32, True), ("ba" * 32, False)])
def test_a_digest_is_compared_whole(digest: str, met: bool) -> None:
    judged = judge(REPORT, {"digest": (EXACTLY, digest)})["digest"]
    assert isinstance(judged, dict)
    assert judged["met"] is met


@pytest.mark.parametrize("key", ["absent", "normal.absent", "digest.absent", "digest"])
def test_what_was_not_measured_as_a_number_meets_no_bar(key: str) -> None:
    judged = judge(REPORT, {key: (AT_LEAST, 0)})[key]
    assert isinstance(judged, dict)
    assert judged["met"] is False


def test_nested_figures_are_named_by_their_path() -> None:
    assert list(flattened(REPORT))[:2] == ["normal.ops_per_s", "normal.p99_ns"]


def test_the_table_says_met_and_missed_beside_the_figure() -> None:
    bars = {"normal.ops_per_s": (AT_LEAST, 3_000_000), "normal.p99_ns": (AT_MOST, 500)}
    lines = table(REPORT | {"bars": judge(REPORT, bars)}).splitlines()
    assert lines[0].split() == ["normal.ops_per_s", "2,500,000.0", ">=", "3,000,000", "MISSED"]
    assert lines[1].split() == ["normal.p99_ns", "400", "<=", "500", "met"]
    assert lines[2].split() == ["digest", "abababababababab"[:14] + ".."]
    assert lines[-3:] == ["workload:", "  seed 1", "  some orders"]
    assert "machine: cpu one, cores 2" in lines
