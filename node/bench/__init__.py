"""What `rialto bench` measures, one module for each bench; figures in docs/benchmarks.md.

Each bench module has `MESSAGES` and `ROUNDS` (what it runs unless told otherwise), `BARS`, `STEPS`
(how often it calls `advance`), and

    bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]

whose report has the figures and, last, the workload in words.
"""

from collections.abc import Callable

Advance = Callable[[int], object]
"""Called with the number of steps done since its last call."""
