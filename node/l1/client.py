"""Typed reads of an L1: blocks, what the contract told, what it holds.

What lives here: questions and the types of their answers. What must never live here: what follows
from an answer, or sending.

An L1 is somebody else's program. An answer that is not of the expected form is refused by number,
like no answer at all; whoever asks tries again later.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from eth_abi.exceptions import DecodingError

from consensus.block import COUNT_BITS
from consensus.rollup.origin import Item, Origin
from node.exceptions import NodeError
from node.l1.contract import Summary, call, read_event, topic
from node.l1.surface import L1, L1Error, as_hex, from_hex

L1_MALFORMED: Final = 7752

FORMLESS: Final = (
    AttributeError, DecodingError, IndexError, KeyError, OverflowError, TypeError, ValueError,
)  # fmt: skip
"""What reading JSON of another form than expected may raise."""
LATEST, SAFE, FINALIZED = "latest", "safe", "finalized"
WITHDRAWN, EXITED, REFUNDED = "Withdrawn", "Exited", "Refunded"
"""Events of what was paid."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class L1Block:
    """What a chain of blocks is followed by; `time` in seconds."""

    number: int
    hash: bytes
    parent: bytes
    time: int

    @property
    def origin(self) -> Origin:
        return Origin(self.number, self.hash, self.time)


@dataclass(frozen=True, slots=True)
class Committed:
    l1_number: int
    number: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Finalized:
    l1_number: int
    number: int


@dataclass(frozen=True, slots=True)
class Reverted:
    """`committed`: the last batch that is left."""

    l1_number: int
    committed: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """Batches above `finalized` are gone, for ever."""

    l1_number: int
    finalized: int


@dataclass(frozen=True, slots=True)
class Paid:
    """Money that went out, once for each: `key` is the index of a withdrawal, account and asset of
    an exit, or the index of a refunded item."""

    event: str
    key: tuple[int, ...]


Told: TypeAlias = Item | Committed | Finalized | Reverted | Frozen | Paid


@dataclass(frozen=True, slots=True)
class ContractFigures:
    """What the contract itself says it holds."""

    items: int
    committed: int
    finalized: int
    frozen: bool


class Client:
    """Questions about one contract on one L1. All raise what `L1.request` raises, and 7752."""

    def __init__(self, l1: L1, contract: bytes) -> None:
        self._l1: Final = l1
        self._contract: Final = "0x" + contract.hex()

    async def block(self, at: int | str) -> L1Block | None:
        """The canonical block of a number or tag; None if the L1 has none (yet)."""
        tag = hex(at) if isinstance(at, int) else at
        try:
            answer = await self._l1.request("eth_getBlockByNumber", tag, False)
        except L1Error:
            if tag in (SAFE, FINALIZED):
                return None  # geth and others: an error until there is one
            raise
        return None if answer is None else _read(_block, answer, f"block {tag}")

    async def block_with(self, block_hash: bytes) -> L1Block | None:
        """The block with this hash, if the L1 has it."""
        answer = await self._l1.request("eth_getBlockByHash", "0x" + block_hash.hex(), False)
        return None if answer is None else _read(_block, answer, f"block {block_hash.hex()}")

    async def told_in(self, block: L1Block) -> list[Told]:
        """What the contract told in one block. Of an orphan: nothing, or `L1Error`."""
        return await self._told({"blockHash": "0x" + block.hash.hex()})

    async def told_between(self, first: int, last: int) -> list[Told]:
        """The same of canonical blocks `first` to `last`."""
        return await self._told({"fromBlock": hex(first), "toBlock": hex(last)})

    async def _told(self, where: Mapping[str, str]) -> list[Told]:
        answer = await self._l1.request("eth_getLogs", {"address": self._contract, **where})
        return _read(_events, answer, "logs")

    async def figures(self, number: int) -> ContractFigures:
        """The contract's own figures after a block that is not old."""
        names = ("queue_length", "committed", "finalized", "frozen")
        items, committed, finalized, frozen = [
            await self.number(name, at=number) for name in names
        ]
        return ContractFigures(items, committed, finalized, bool(frozen))

    async def words(self, name: str, *values: object, at: int | str = LATEST) -> list[bytes]:
        """What a view function answers after the block of a number or tag, in words."""
        asked = {"to": self._contract, "data": as_hex(call(name, *values))}
        tag = hex(at) if isinstance(at, int) else at
        return _read(_words, await self._l1.request("eth_call", asked, tag), f"{name}()")

    async def word(self, name: str, *values: object, at: int | str = LATEST) -> bytes:
        return (await self.words(name, *values, at=at))[0]

    async def number(self, name: str, *values: object, at: int | str = LATEST) -> int:
        return int.from_bytes(await self.word(name, *values, at=at), "big")


async def in_spans(
    ask: Callable[[int, int], Awaitable[list[Result]]], first: int, last: int, blocks: int
) -> list[Result]:
    """What `ask` tells of L1 blocks `first` to `last`, asked in spans of at most `blocks`.

    Clients bound the blocks or the logs of one `eth_getLogs`: a span that is refused is halved and
    asked again. Raises `L1Error` for one block that is refused.
    """
    found: list[Result] = []
    while first <= last:
        end = min(last, first + blocks - 1)
        try:
            found += await ask(first, end)
        except L1Error:
            if first == end:
                raise
            blocks = (end - first + 1) // 2
            continue
        first = end + 1
    return found


def _read(read: Callable[[Any], Result], answer: Any, what: str) -> Result:
    try:
        return read(answer)
    except FORMLESS as error:
        text = f"the L1's answer for {what} is none ({error!r}); is the URL an execution client's?"
        raise NodeError(L1_MALFORMED, text) from error


def _block(answer: Any) -> L1Block:
    return L1Block(
        _count(answer["number"]), _hash(answer["hash"]), _hash(answer["parentHash"]),
        _count(answer["timestamp"]),
    )  # fmt: skip


def _count(text: str) -> int:
    value = int(text, 16)
    if not 0 <= value < 1 << COUNT_BITS:
        raise ValueError(f"{text} is no count")
    return value


def _hash(text: str) -> bytes:
    data = bytes.fromhex(text[2:])
    if len(data) != 32:
        raise ValueError(f"{text} is no hash")
    return data


def _words(text: str) -> list[bytes]:
    data = from_hex(text)
    if not data or len(data) % 32:
        raise ValueError(f"{len(data)} bytes are no words")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def _events(answer: Sequence[Mapping[str, Any]]) -> list[Told]:
    logs = [log for log in answer if not log.get("removed", False)]
    logs.sort(key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))
    return [_READERS[log["topics"][0]](log) for log in logs if log["topics"][0] in _READERS]


def _item(log: Mapping[str, Any]) -> Item:
    seen = read_event("Queued", log)
    return Item(
        seen["index"], _count(log["blockNumber"]), seen["time"], seen["queue_hash"], seen["rows"]
    )


def _committed(log: Mapping[str, Any]) -> Committed:
    seen = read_event("Committed", log)
    return Committed(_count(log["blockNumber"]), seen["number"], Summary(*seen["summary"]))


def _finalized(log: Mapping[str, Any]) -> Finalized:
    return Finalized(_count(log["blockNumber"]), read_event("Finalized", log)["number"])


def _reverted(log: Mapping[str, Any]) -> Reverted:
    return Reverted(_count(log["blockNumber"]), read_event("Reverted", log)["committed"])


def _frozen(log: Mapping[str, Any]) -> Frozen:
    return Frozen(_count(log["blockNumber"]), read_event("Frozen", log)["finalized"])


def _paid(event: str, *names: str) -> Callable[[Mapping[str, Any]], Paid]:
    def read(log: Mapping[str, Any]) -> Paid:
        seen = read_event(event, log)
        return Paid(event, tuple(seen[name] for name in names))

    return read


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Told]]] = {
    "0x" + topic(name).hex(): read
    for name, read in (
        ("Queued", _item), ("Committed", _committed), ("Finalized", _finalized),
        ("Reverted", _reverted), ("Frozen", _frozen), (WITHDRAWN, _paid(WITHDRAWN, "index")),
        (EXITED, _paid(EXITED, "account", "asset")), (REFUNDED, _paid(REFUNDED, "index")),
    )
}  # fmt: skip
