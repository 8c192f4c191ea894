"""How far each node sees a block: the stages from `sealed` to `final`, with their moments.

What lives here: asking, waiting, the table. What must never live here: a stage that a node does not
name itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from node.devnet.connection import Connection

STAGES: Final = ("sealed", "certified", "posted", "safe", "anchored", "final")
POLL_S: Final = 0.2
STAGES_S_MAX: Final = 300


@dataclass
class Track:
    """One node's view of one height: seconds until each stage, in order of `STAGES`."""

    name: str
    reached: dict[str, float] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        return STAGES[-1] in self.reached

    def look(self, status: dict[str, Any], height: int, seconds: float) -> None:
        """Note the stages that a `chain_status` shows for this height."""
        heights = {"sealed": status["height"], "certified": status["certified"]}
        heights |= (status["l1"] or {}).get("heights", {})
        for stage in STAGES:
            if heights.get(stage, 0) >= height:
                self.reached.setdefault(stage, seconds)


async def follow(
    tracks: Sequence[Track], doors: Sequence[Connection], height: int, began: float
) -> bool:
    """Watch all nodes until the block is final for each; whether they got there in time."""
    with trio.move_on_after(STAGES_S_MAX):
        while not all(track.is_final for track in tracks):
            for track, door in zip(tracks, doors, strict=True):
                if not track.is_final:
                    status = await door.call("chain_status")
                    track.look(status, height, trio.current_time() - began)
            await trio.sleep(POLL_S)
    return all(track.is_final for track in tracks)


def table(tracks: Sequence[Track]) -> str:
    """One line for each node: seconds after the command was promised."""
    head = "".join(f"{stage:>11}" for stage in STAGES)
    lines = [f"{'seconds to':<12}{'sequenced':>11}{head}"]
    for track in tracks:
        times = "".join(f"{_shown(track.reached.get(stage)):>11}" for stage in STAGES)
        lines.append(f"{track.name:<12}{'0.0':>11}{times}")
    return "\n".join(lines)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
