"""`chain_getWithdrawal`, `chain_getWithdrawals`: what a wallet needs to be paid on L1.

What lives here: withdrawals by index and by address, and their paths in a batch's stream. What must
never live here: L1. A wallet reads from L1 which blocks a batch has, and the contract checks the
path; so any node that has the blocks can answer, and none has to be believed.
"""

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Final, NoReturn, TypeAlias

import trio
from msgspec import Raw, Struct

from node.l1.payments import opened
from node.machine import Machine
from node.reads import Make
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Later, Method, RpcError
from node.rpc.events import event_json, unpacked
from node.rpc.methods.directory import hex_bytes
from node.rpc.operations import Whole, whole
from node.rpc.params import by_name
from storage.blocks import Reading, Withdrawal
from storage.exceptions import StorageError

NO_WITHDRAWAL: Final = 7745
STREAM_LONG: Final = 7746
TOO_MANY_ASK: Final = 7747
LISTED_MAX: Final = 100
SCANNED_MAX: Final = 2000
"""Of one answer: some 4 ms."""
STREAM_MAX: Final = 1 << 17
"""Withdrawals of a stream that is opened: more than the blobs of a batch hold."""
WAITING_MAX: Final = 16
INDEX_MAX: Final = (1 << 63) - 1


Work: TypeAlias = "tuple[Later, Callable[[], Make]]"


class OneWithdrawal(Struct, forbid_unknown_fields=True):
    """By `index`; with both heights, also its path in the stream of those blocks."""

    index: Whole
    first_height: int | None = None
    last_height: int | None = None


class WithdrawalsTo(Struct, forbid_unknown_fields=True):
    """Those to an L1 `address`, newest first, with an index below `below`."""

    address: str
    below: Whole | None = None


class WithdrawalMethods:
    """The methods, on the blocks of one node. `run` opens streams, in a thread, one at a time."""

    def __init__(self, blocks: Reading, machine: Machine) -> None:
        self._blocks: Final = blocks
        self._machine: Final = machine
        self._post, self._work = trio.open_memory_channel[Work](WAITING_MAX)

    async def run(self) -> None:
        """Serve until cancelled."""
        async for later, work in self._work:
            later.finish(await self._machine.compute(work))

    def one(self, params: Raw, client: Client) -> object:
        """A withdrawal, and what the contract asks to pay it."""
        asked = by_name(params, OneWithdrawal)
        index = _index(asked.index)
        found = next(self._blocks.withdrawals(index), None)
        if found is None or found.number != index:
            text = f"no withdrawal {index} is in a block that is kept here"
            raise RpcError(NO_WITHDRAWAL, f"{text}; ask another node, or wait for its block")
        answer = _described(found)
        if asked.first_height is None and asked.last_height is None:
            return answer
        if asked.first_height is None or asked.last_height is None:
            raise RpcError(INVALID_PARAMS, "give first_height and last_height, or neither")
        if not asked.first_height <= found.height <= asked.last_height:
            text = f"withdrawal {index} is in block {found.height}"
            raise RpcError(INVALID_PARAMS, f"{text}: the heights must span it")
        first, last = asked.first_height, asked.last_height
        later = Later()
        try:
            self._post.send_nowait((later, lambda: self._told(answer, found, first, last)))
        except trio.WouldBlock:
            text = f"{WAITING_MAX} streams of withdrawals are being opened; ask again in a moment"
            raise RpcError(TOO_MANY_ASK, text) from None
        return later

    def _told(
        self, answer: dict[str, object], one: Withdrawal, first: int, last: int
    ) -> Make:
        """In a thread: the whole answer, or what it raises for the caller to be told."""
        try:
            whole_answer = answer | self._opened(one, first, last)
        except (RpcError, StorageError) as error:
            return partial(_raise, error)
        return lambda: whole_answer

    def _opened(self, one: Withdrawal, first: int, last: int) -> dict[str, object]:
        """Its place in the stream of the blocks `first` to `last`."""
        below, events = 0, [one.event]
        before = self._blocks.withdrawals(one.number, down=True)
        for earlier in takewhile(lambda found: found.height >= first, before):
            below += 1
            events.append(earlier.event)
            _check_length(len(events))
        events.reverse()
        behind = self._blocks.withdrawals(one.number + 1)
        for later in takewhile(lambda found: found.height <= last, behind):
            events.append(later.event)
            _check_length(len(events))
        return opened(b"".join(events), below)

    def listed(self, params: Raw, client: Client) -> object:
        """Up to 100 withdrawals to an address; `next` is `below` of the next page, or null."""
        asked = by_name(params, WithdrawalsTo)
        address = "0x" + hex_bytes(asked.address, "an address", 20).hex()
        below = INDEX_MAX if asked.below is None else _index(asked.below)
        answer: list[dict[str, object]] = []
        more = None
        for scanned, found in enumerate(self._blocks.withdrawals(below, down=True), 1):
            described = _described(found)
            if described["to"] == address:
                answer.append(described)
            if scanned == SCANNED_MAX or len(answer) == LISTED_MAX:
                more = str(found.number)
                break
        return {"withdrawals": answer, "next": more}

    def methods(self) -> dict[str, Method]:
        return {"chain_getWithdrawal": self.one, "chain_getWithdrawals": self.listed}


def _described(found: Withdrawal) -> dict[str, object]:
    (words,) = unpacked(found.event)
    event = event_json(words)
    named = ("sequence", "amount", "asset", "account", "to")
    return {"index": str(found.number), "height": found.height} | {
        name: event[name] for name in named
    }


def _index(value: int | str) -> int:
    index = whole(value)
    if not 0 <= index <= INDEX_MAX:
        raise RpcError(INVALID_PARAMS, f"{index} is no index of a withdrawal")
    return index


def _check_length(count: int) -> None:
    if count > STREAM_MAX:
        text = f"more than {STREAM_MAX} withdrawals in these blocks"
        raise RpcError(STREAM_LONG, f"{text}; no batch holds as many: give its own heights")


def _raise(error: Exception) -> NoReturn:
    raise error
