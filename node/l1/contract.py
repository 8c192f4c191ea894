"""The settlement contract, as Python calls it: values, calldata, what is signed, what events say.

What lives here: the ABI of `contracts/Settlement.vy` and the texts that validators sign. What must
never live here: sending, keys, or the decision whether a batch is good.

The ABI is read from the committed artefact, so a call cannot drift from the bytes that are
deployed. docs/protocol/settlement.md says what each call checks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from eth_abi import decode, encode

from consensus.block import HASH_ZERO
from consensus.keccak import keccak256
from consensus.rollup.batch import Batch
from consensus.signatures import sign
from node.exceptions import NodeError

CONTRACT_CALL: Final = 7740

QUORUM, CHALLENGE, VALIDITY = 1, 2, 3
"""Settlement modes."""
FORCE_FEE_WEI: Final = 10**14
ATTEST_TAG: Final = keccak256(b"rialto/attest/1")
COMMITTEE_TAG: Final = keccak256(b"rialto/committee/1")


@dataclass(frozen=True, slots=True)
class Settings:
    """Fixed at deployment: seconds, wei, and where the ledger's accounts and balances begin."""

    mode: int
    window_s: int
    deadline_s: int
    freeze_after_s: int
    delay_s: int
    bond: int
    accounts_leaf: int
    balances_leaf: int
    accounts_max: int
    assets_max: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What the contract remembers of a batch, by hash."""

    batch_hash: bytes
    time: int
    last_hash: bytes
    last_height: int
    post_state_root: bytes
    l1_messages: int
    withdrawals_root: bytes

    @property
    def hash(self) -> bytes:
        return keccak256(encode([SUMMARY], [astuple(self)]))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch leaves the queue: time of the last item consumed, hash and time of the next."""

    last_time: int = 0
    next_hash: bytes = HASH_ZERO
    next_time: int = 0


@dataclass(frozen=True, slots=True)
class Signatures:
    """(r, v and s) of 32 bytes each, in order of `members`, for those whose bit is set."""

    members: tuple[bytes, ...]
    bitmap: int
    signatures: tuple[tuple[bytes, bytes], ...]


SUMMARY: Final = "(bytes32,uint256,bytes32,uint256,bytes32,uint256,bytes32)"


@cache
def artefact() -> Mapping[str, Any]:
    """The committed artefact: `abi`, `bytecode`, what they were compiled from and with."""
    text = resources.files("node.l1").joinpath("contracts/Settlement.json").read_text("utf-8")
    made: Mapping[str, Any] = json.loads(text)
    return made


@cache
def _inputs(kind: str, name: str) -> tuple[str, ...]:
    for entry in artefact()["abi"]:
        if entry["type"] == kind and entry.get("name", "") == name:
            return tuple(map(_type, entry["inputs"]))
    raise NodeError(CONTRACT_CALL, f"the settlement contract has no {kind} {name}")


def _type(argument: Mapping[str, Any]) -> str:
    if not argument["type"].startswith("tuple"):
        return str(argument["type"])
    inner = ",".join(map(_type, argument["components"]))
    return f"({inner}){argument['type'].removeprefix('tuple')}"


def deployment(
    settings: Settings,
    genesis: Summary,
    members: Sequence[bytes],
    guardian: bytes,
    governor: bytes,
    assets: Sequence[tuple[bytes, int]],
    verifier: bytes = bytes(20),
) -> bytes:
    """Data of the transaction that makes the contract. `assets`: (token or zero, scale) by id."""
    values = [
        astuple(settings), astuple(genesis), list(members), guardian, governor, verifier,
        list(assets),
    ]  # fmt: skip
    return bytes.fromhex(artefact()["bytecode"][2:]) + encode(_inputs("constructor", ""), values)


def call(name: str, *values: Any) -> bytes:
    """Calldata of a function; dataclasses above stand for their structs. `NodeError` 7740."""
    types = _inputs("function", name)
    if len(types) != len(values):
        text = f"{name} takes {len(types)} values, not {len(values)}"
        raise NodeError(CONTRACT_CALL, text)
    return keccak256(f"{name}({','.join(types)})".encode())[:4] + encode(
        types, [_plain(value) for value in values]
    )


def _plain(value: Any) -> Any:
    return astuple(value) if isinstance(value, (Settings, Summary, Place, Signatures)) else value


def batch_words(batch: Batch) -> tuple[int | bytes, ...]:
    """The batch as `commit` takes it: every field in order but the blob hashes."""
    return (
        batch.version, batch.number, batch.first_height, batch.last_height, batch.parent_hash,
        batch.last_hash, batch.pre_state_root, batch.post_state_root, batch.payload_hash,
        batch.l1_number, batch.l1_hash, batch.l1_messages, batch.l1_queue_hash,
        batch.withdrawals_root, batch.validators_hash,
    )  # fmt: skip


def topic(name: str) -> bytes:
    """The first topic of an event."""
    return keccak256(f"{name}({','.join(_inputs('event', name))})".encode())


def read_event(name: str, log: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an event's log, by name; structs as tuples. `NodeError` 7740 for another's."""
    topics = [bytes.fromhex(one[2:]) for one in log["topics"]]
    if not topics or topics[0] != topic(name):
        raise NodeError(CONTRACT_CALL, f"the log is no {name} of the settlement contract")
    (entry,) = (one for one in artefact()["abi"] if one["type"] == "event" and one["name"] == name)
    kept = [one for one in entry["inputs"] if not one["indexed"]]
    values = iter(decode(list(map(_type, kept)), bytes.fromhex(log["data"][2:])))
    indexed = iter(topics[1:])
    return {
        one["name"]: decode([_type(one)], next(indexed))[0] if one["indexed"] else next(values)
        for one in entry["inputs"]
    }


def attestation(chain_id: int, contract: bytes, mode: int, epoch: int, batch_hash: bytes) -> bytes:
    """The digest that a validator signs, once it has decoded the batch's blobs and replayed it."""
    types = ["bytes32", "uint256", "address", "uint256", "uint256", "bytes32"]
    values = [ATTEST_TAG, chain_id, contract, mode, epoch, batch_hash]
    return keccak256(encode(types, values))


def succession(chain_id: int, contract: bytes, epoch: int, members: Sequence[bytes]) -> bytes:
    """The digest by which the committee of `epoch` hands over to `members`."""
    types = ["bytes32", "uint256", "address", "uint256", "bytes32"]
    heirs = keccak256(encode(["address[]"], [list(members)]))
    return keccak256(encode(types, [COMMITTEE_TAG, chain_id, contract, epoch, heirs]))


def signed_by(
    digest: bytes, members: Sequence[bytes], secrets: Mapping[bytes, bytes]
) -> Signatures:
    """`digest` signed by those members whose secret is given, by address."""
    bitmap, signatures = 0, []
    for place, member in enumerate(members):
        if member in secrets:
            bitmap |= 1 << place
            signatures.append(compact(sign(secrets[member], digest)))
    return Signatures(tuple(members), bitmap, tuple(signatures))


def compact(signature: bytes) -> tuple[bytes, bytes]:
    """EIP-2098: r, and s with v in its highest bit."""
    s = int.from_bytes(signature[32:64], "big") | signature[64] << 255
    return signature[:32], s.to_bytes(32, "big")
