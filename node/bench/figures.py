"""From samples to figures, and from figures to "is the bar met".

What lives here: percentiles, rates, bars and the table that people read. What must never live here:
how anything was measured.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

AT_LEAST: Final = ">="
AT_MOST: Final = "<="
EXACTLY: Final = "=="

TEXT_SHOWN: Final = 16

Bar = tuple[str, float | str]
"""`(AT_LEAST, 0.5)`: what a figure must reach; text only with `EXACTLY`."""


class Rate(NamedTuple):
    """Operations per second over several rounds."""

    median: float
    best: float


def rate(operations: int, nanoseconds: Sequence[int]) -> Rate:
    """The rate of rounds of `operations` each that took these times."""
    return Rate(operations * 1e9 / median(nanoseconds), operations * 1e9 / max(1, min(nanoseconds)))


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest sample that is not exceeded by `share` of the ascending `ordered`."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def percentiles(samples: Sequence[int]) -> dict[str, int]:
    """p50_ns, p99_ns and p999_ns of samples in nanoseconds."""
    ordered = sorted(samples)
    shares = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
    return {name: percentile(ordered, share) for name, share in shares.items()}


def rounded(value: float) -> float:
    """Four significant digits; more would be noise."""
    return float(f"{value:.4g}")


def judge(report: Mapping[str, object], bars: Mapping[str, Bar]) -> dict[str, object]:
    """`{key: {bar, measured, met}}`; a key is a path with dots, and one not measured is not met."""
    judged: dict[str, object] = {}
    for key, (relation, limit) in bars.items():
        found: object = report
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        bar = f"{relation} {_shown(limit)}"
        judged[key] = {"bar": bar, "measured": found, "met": _meets(found, relation, limit)}
    return judged


def _meets(found: object, relation: str, limit: float | str) -> bool:
    if relation == EXACTLY:
        return found == limit
    if not isinstance(found, int | float) or isinstance(limit, str):
        return False
    return found >= limit if relation == AT_LEAST else found <= limit


def _shown(value: object) -> str:
    """Numbers grouped by thousands, long texts by their beginning."""
    text = f"{value:,}" if isinstance(value, int | float) else str(value)
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 2]}.."


def flattened(report: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested figures as one level, keys joined by dots."""
    flat: dict[str, object] = {}
    for key, value in report.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def table(report: Mapping[str, object]) -> str:
    """A report as text: the figures, each with its bar, then the workload and the machine."""
    bars = report.get("bars")
    judged = bars if isinstance(bars, Mapping) else {}
    about = ("machine", "workload", "bars")
    figures = flattened({key: value for key, value in report.items() if key not in about})
    width = max(map(len, figures), default=0)
    lines = []
    for key, value in figures.items():
        verdict = ""
        if key in judged:
            verdict = f"  {judged[key]['bar']:<20} {'met' if judged[key]['met'] else 'MISSED'}"
        lines.append(f"{key:<{width}}  {_shown(value):>16}{verdict}".rstrip())
    machine = report.get("machine")
    if isinstance(machine, Mapping):
        lines += ["", "machine: " + ", ".join(f"{key} {value}" for key, value in machine.items())]
    lines += ["workload:", *(f"  {part}" for part in str(report.get("workload")).split("; "))]
    return "\n".join(lines)
