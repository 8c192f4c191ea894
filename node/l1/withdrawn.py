"""The withdrawals of a chain in a file: what `rialto derive` found, for whoever has no node.

What lives here: the file, and the answers that a node would give about the withdrawals in it. What
must never live here: what the contract is called with (`payments`), or trust: it checks each path.

A line for each withdrawal, in the chain's order: the height of its block and its WITHDRAWN event of
64 bytes in hexadecimal.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from consensus.layout import EVENT_WITHDRAWN
from node.client.answers import Withdrawal
from node.exceptions import NodeError
from node.l1.payments import opened
from node.rpc.events import event_json, unpacked
from node.state_file import write_whole
from storage.blocks import EVENT_BYTES

NOT_WITHDRAWALS: Final = 7734

Listed = tuple[int, bytes]
"""(height, event)."""


def write_withdrawals(found: Iterable[tuple[int, bytes]], path: Path) -> None:
    """Whole or not at all. `found`: height and events of each block."""
    lines = [
        f"{height} {events[at : at + EVENT_BYTES].hex()}\n".encode()
        for height, events in found
        for at in range(0, len(events), EVENT_BYTES)
    ]
    write_whole(path, lines)


class WithdrawnFile:
    """Asked like a `Client`. Indexes count from 0, without a gap."""

    def __init__(self, path: Path) -> None:
        """Raises `NodeError` 7734."""
        self._path: Final = path
        self._found: Final = _read(path)

    async def withdrawals_to(self, address: str) -> Sequence[Withdrawal]:
        """All withdrawals to an L1 address, newest first."""
        found = map(_described, self._found)
        return [one for one in found if one.to == address.lower()][::-1]

    async def withdrawal(self, index: int, heights: tuple[int, int] | None = None) -> Withdrawal:
        """One; with the heights of its batch, also what L1 asks to pay it. Raises 7734."""
        if not 0 <= index < len(self._found):
            text = f"{self._path} has {len(self._found)} withdrawals, no withdrawal {index}"
            raise NodeError(NOT_WITHDRAWALS, f"{text}; derive the chain again")
        one = self._found[index]
        if heights is None:
            return _described(one)
        first, last = heights
        batch = [event for height, event in self._found if first <= height <= last]
        return _described(one, opened(b"".join(batch), batch.index(one[1])))


def _described(one: Listed, proof: Mapping[str, object] = MappingProxyType({})) -> Withdrawal:
    height, event = one
    (words,) = unpacked(event)
    told = event_json(words)
    place = {"index": str(told["index"]), "height": height}
    return msgspec.convert(told | place | dict(proof), Withdrawal)


def _read(path: Path) -> list[Listed]:
    found = []
    try:
        for number, line in enumerate(path.read_text("ascii").splitlines()):
            height, event = line.split()
            data = bytes.fromhex(event)
            one = int(height), data
            if len(data) != EVENT_BYTES or data[0] != EVENT_WITHDRAWN:
                raise ValueError("an event of another kind")
            if int(_described(one).index) != number:
                raise ValueError(f"withdrawal {_described(one).index} stands there")
            found.append(one)
    except ValueError as error:
        text = f"{path} has no withdrawal in line {len(found) + 1}: {error}"
        raise NodeError(
            NOT_WITHDRAWALS, f"{text}; `rialto derive --withdrawals FILE` makes one"
        ) from error
    return found
