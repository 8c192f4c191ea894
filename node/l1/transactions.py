"""L1 transactions that we sign ourselves: EIP-1559 (type 2) and blob transactions (type 3).

What lives here: bytes, signatures, hashes of transactions, sidecars by fork. What must never live
here: which fees to offer, nonces in flight, or where they are sent.

Theory. A signed transaction is `type | rlp(fields, y parity, r, s)`, and its hash is the Keccak of
that (EIP-2718). A blob transaction travels in *network form*, with its blobs, commitments and
proofs beside the fields; blocks keep only the fields, so the hash does not cover the sidecar and
the versioned hashes do. Before Osaka a sidecar is version 0 (one proof per blob), from Osaka on
version 1 (128 cell proofs per blob, EIP-7594), and an execution client refuses the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from consensus import codec
from consensus.da.blobs import BLOB_BYTES
from consensus.da.kzg import CELLS_PER_BLOB, COMMITMENT_BYTES, PROOF_BYTES, versioned_hash
from consensus.keccak import keccak256
from consensus.rollup.batch import ADDRESS_BYTES
from consensus.signatures import sign
from node.exceptions import NodeError

TRANSACTION_FIELD: Final = 7710
SIDECAR_SHAPE: Final = 7711
TRANSACTION_FORM: Final = 7712

DYNAMIC_FEE: Final = 2  # EIP-1559
BLOB: Final = 3  # EIP-4844
BLOBS_PER_TRANSACTION_MAX: Final = 6  # EIP-7594
GAS_PER_TRANSACTION_MAX: Final = 1 << 24  # EIP-7825
GAS_PER_BLOB: Final = 1 << 17  # EIP-4844
NETWORK_BYTES_MAX: Final = 1 << 20
"""About what ethrex's pool takes: six blobs with cell proofs are 825 KB."""
FIELDS: Final = {DYNAMIC_FEE: 9, BLOB: 11}
"""Number of fields before the signature."""
HASHES_AT: Final = 10


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction does. `to` empty: make a contract with `data`. Wei and gas."""

    to: bytes
    data: bytes = b""
    value: int = 0
    gas: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas: at most `max_fee`, of it `tip` to the proposer. Wei per blob gas besides."""

    tip: int
    max_fee: int
    max_blob_fee: int = 0


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Blobs with commitments, and the proofs of `version`: 0 one, 1 128 for each blob."""

    version: int
    blobs: tuple[bytes, ...]
    commitments: tuple[bytes, ...]
    proofs: tuple[bytes, ...]

    def __post_init__(self) -> None:
        count = len(self.blobs)
        per_blob = {0: 1, 1: CELLS_PER_BLOB}.get(self.version, 0)
        if (
            not 1 <= count <= BLOBS_PER_TRANSACTION_MAX
            or len(self.commitments) != count
            or len(self.proofs) != per_blob * count
            or any(len(blob) != BLOB_BYTES for blob in self.blobs)
            or any(len(one) != COMMITMENT_BYTES for one in self.commitments)
            or any(len(one) != PROOF_BYTES for one in self.proofs)
        ):
            text = f"1 to {BLOBS_PER_TRANSACTION_MAX} blobs, each with its commitment and proofs"
            raise NodeError(SIDECAR_SHAPE, f"a sidecar of version 0 or 1 has {text}")

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The versioned hashes, which the signature covers."""
        return tuple(versioned_hash(commitment) for commitment in self.commitments)


class Signed(NamedTuple):
    """`raw` is what `eth_sendRawTransaction` takes (with the sidecar), `hash` what it answers."""

    raw: bytes
    hash: bytes


def sign_call(
    secret: bytes, chain_id: int, nonce: int, call: Call, fees: Fees, sidecar: Sidecar | None = None
) -> Signed:
    """A signed transaction: of type 3 with a sidecar, else of type 2.

    Raises `NodeError` `TRANSACTION_FIELD`, `InvalidSignature` `PRIVATE_KEY`.
    """
    _check(call, fees, sidecar)
    fields: list[codec.Encodable] = [
        chain_id, nonce, fees.tip, fees.max_fee, call.gas, call.to, call.value, call.data, [],
    ]  # fmt: skip
    if sidecar is not None:
        fields += [fees.max_blob_fee, list(sidecar.hashes)]
    kind = bytes([DYNAMIC_FEE if sidecar is None else BLOB])
    signature = sign(secret, keccak256(kind + codec.encode(fields)))
    fields += [
        signature[64],
        int.from_bytes(signature[:32], "big"),
        int.from_bytes(signature[32:64], "big"),
    ]
    canonical = kind + codec.encode(fields)
    if sidecar is None:
        return Signed(canonical, keccak256(canonical))
    version: list[codec.Encodable] = [sidecar.version] if sidecar.version else []
    parts = [list(sidecar.blobs), list(sidecar.commitments), list(sidecar.proofs)]
    return Signed(kind + codec.encode([fields, *version, *parts]), keccak256(canonical))


def split(raw: bytes) -> tuple[bytes, Sidecar | None]:
    """(canonical form, sidecar) of a transaction in network form.

    Raises `NodeError` `TRANSACTION_FORM` or `SIDECAR_SHAPE`, `InvalidEncoding`.
    """
    if len(raw) > NETWORK_BYTES_MAX:
        raise NodeError(TRANSACTION_FORM, f"{len(raw)} bytes: at most {NETWORK_BYTES_MAX}")
    if raw[:1] != bytes([BLOB]):
        return raw, None
    parts = codec.read_list(codec.decode(raw[1:], limit_bytes=NETWORK_BYTES_MAX), 13)
    if len(parts) not in (4, 5) or not isinstance(parts[0], list):
        text = "a blob transaction without its sidecar; send the network form"
        raise NodeError(TRANSACTION_FORM, text)
    version = codec.read_uint(parts[1], 8) if len(parts) == 5 else 0
    if len(parts) == 5 and version != 1:
        raise NodeError(TRANSACTION_FORM, f"sidecar version {version} is unknown; use 1, or none")
    blobs, commitments, proofs = (_byte_strings(part) for part in parts[-3:])
    sidecar = Sidecar(version, blobs, commitments, proofs)
    fields = parts[0]
    if len(fields) != FIELDS[BLOB] + 3 or fields[HASHES_AT] != list(sidecar.hashes):
        text = "the versioned hashes are not those of the commitments"
        raise NodeError(TRANSACTION_FORM, text)
    return raw[:1] + codec.encode(fields), sidecar


def _byte_strings(item: codec.Item) -> tuple[bytes, ...]:
    found = codec.read_list(item, BLOBS_PER_TRANSACTION_MAX * CELLS_PER_BLOB)
    if any(not isinstance(one, bytes) for one in found):
        raise NodeError(TRANSACTION_FORM, "a sidecar is lists of byte strings")
    return tuple(one for one in found if isinstance(one, bytes))


def _check(call: Call, fees: Fees, sidecar: Sidecar | None) -> None:
    lengths: Sequence[int] = (0, ADDRESS_BYTES) if sidecar is None else (ADDRESS_BYTES,)
    if len(call.to) not in lengths:
        text = f"a recipient of {len(call.to)} bytes: an address has {ADDRESS_BYTES}"
        raise NodeError(TRANSACTION_FIELD, f"{text}; only a blobless transaction can deploy")
    if not 21_000 <= call.gas <= GAS_PER_TRANSACTION_MAX:
        text = f"gas limit {call.gas}: 21000 to {GAS_PER_TRANSACTION_MAX} (EIP-7825)"
        raise NodeError(TRANSACTION_FIELD, text)
    if not 0 <= fees.tip <= fees.max_fee < 1 << 256 or (sidecar and fees.max_blob_fee < 1):
        text = "fees: 0 <= tip <= max fee, and at least 1 wei per blob gas with blobs"
        raise NodeError(TRANSACTION_FIELD, text)
