"""KZG commitments of blobs, their cells, and the proofs of both (EIP-4844, EIP-7594).

What lives here: ckzg behind checked arguments. What must never live here: reading the trusted
setup (callers give a loaded one), processes, or what a blob carries (`blobs`).

Theory. A blob is a polynomial of degree below 4,096 by its values; the commitment is one curve
point that fixes it. For sampling the polynomial is evaluated at twice as many points, cut into 128
cells of 64 values, any 64 of which give back all; a proof per cell shows that it is the
commitment's. An L1 transaction carries only the versioned hash, 0x01 and the last 31 bytes of the
SHA-256 of the commitment.

ckzg answers wrong arguments with an exception without a cause, and some not at all: recovery from
a corrupted cell returns garbage. Here lengths and field elements are checked first, and `recover`
verifies every cell before and the commitment afterwards.

**ckzg holds the GIL**: 60 ms for a commitment, 0.2 to 0.4 s for the proofs of one blob. A node
calls the first three functions only in its worker process (`node/l1/kzg_process.py`); verifying
costs 2 to 20 ms.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

import ckzg

from consensus.da.blobs import BLOB_BYTES, ELEMENT_BYTES
from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import BLS_MODULUS, VERSIONED_HASH_KZG

SETUP_SHA256: Final = "d39b9f2d047cc9dca2de58f264b6a09448ccd34db967881a6713eacacf0f26b7"
"""SHA-256 of the text form of the KZG ceremony's output: 4096 G1 Lagrange, 65 G2, 4096 G1."""
CELLS_PER_BLOB: Final = 128  # EIP-7594: CELLS_PER_EXT_BLOB
CELLS_TO_RECOVER: Final = CELLS_PER_BLOB // 2
CELL_BYTES: Final = 2 * BLOB_BYTES // CELLS_PER_BLOB
COMMITMENT_BYTES: Final = 48
PROOF_BYTES: Final = 48
CELLS_PER_CHECK_MAX: Final = 8 * CELLS_PER_BLOB
"""Bounds one call of `verify_cells` at about 0.2 s."""

NOT_A_BLOB: Final = 8110
NOT_A_POINT: Final = 8111
NOT_A_CELL: Final = 8112
PROOF_WRONG: Final = 8113
TOO_FEW_CELLS: Final = 8114
OTHER_COMMITMENT: Final = 8115
CELL_COUNT: Final = 8116

Setup: TypeAlias = Any
"""What `ckzg.load_trusted_setup` returns: an opaque capsule."""


class Extended(NamedTuple):
    """A blob's commitment (48 bytes), 128 cells (2,048 bytes each) and their proofs (48 each)."""

    commitment: bytes
    cells: tuple[bytes, ...]
    proofs: tuple[bytes, ...]


def versioned_hash(commitment: bytes) -> bytes:
    """What an L1 transaction names the blob by: 32 bytes (EIP-4844)."""
    return bytes([VERSIONED_HASH_KZG]) + sha256(commitment).digest()[1:]


def commit(blob: bytes, setup: Setup) -> bytes:
    """The blob's commitment. Raises `InvalidPayload` `NOT_A_BLOB`."""
    check_blob(blob)
    return bytes(ckzg.blob_to_kzg_commitment(blob, setup))


def blob_proof(blob: bytes, commitment: bytes, setup: Setup) -> bytes:
    """The proof that goes with a blob before Osaka (sidecar version 0)."""
    check_blob(blob)
    _check_point(commitment)
    return bytes(_call(NOT_A_POINT, ckzg.compute_blob_kzg_proof, blob, commitment, setup))


def extend(blob: bytes, setup: Setup) -> Extended:
    """Commitment, cells and cell proofs of a blob. Raises `InvalidPayload` `NOT_A_BLOB`."""
    commitment = commit(blob, setup)
    cells, proofs = ckzg.compute_cells_and_kzg_proofs(blob, setup)
    return Extended(commitment, tuple(map(bytes, cells)), tuple(map(bytes, proofs)))


def open_blob(blob: bytes, z: int, setup: Setup) -> tuple[bytes, int]:
    """(proof, y) with p(z) = y, for the point-evaluation precompile. 0 <= z < the modulus."""
    check_blob(blob)
    proof, y = ckzg.compute_kzg_proof(blob, z.to_bytes(ELEMENT_BYTES, "big"), setup)
    return bytes(proof), int.from_bytes(y, "big")


def verify_blob(blob: bytes, commitment: bytes, proof: bytes, setup: Setup) -> None:
    """That `commitment` is the blob's, by its version-0 proof; `InvalidPayload` 8110 .. 8113."""
    check_blob(blob)
    _check_point(commitment)
    _check_point(proof)
    holds = _call(NOT_A_POINT, ckzg.verify_blob_kzg_proof, blob, commitment, proof, setup)
    if not holds:
        raise InvalidPayload(PROOF_WRONG, "the proof is not of this blob and commitment")


def verify_sidecar(
    blobs: Sequence[bytes], commitments: Sequence[bytes], proofs: Sequence[bytes], setup: Setup
) -> None:
    """A version-1 sidecar: 128 cell proofs for each blob, in order. `InvalidPayload` 8110 .. 8116.

    The cells are computed here (3 ms a blob), so the proofs also show that the commitments are
    those of the blobs.
    """
    if len(blobs) != len(commitments) or len(proofs) != CELLS_PER_BLOB * len(blobs):
        text = f"{len(commitments)} commitments and {len(proofs)} proofs for {len(blobs)} blobs"
        raise InvalidPayload(CELL_COUNT, f"{text}: give one and {CELLS_PER_BLOB} for each")
    for number, (blob, commitment) in enumerate(zip(blobs, commitments, strict=True)):
        check_blob(blob)
        cells = list(enumerate(map(bytes, ckzg.compute_cells(blob, setup))))
        of_blob = proofs[number * CELLS_PER_BLOB : (number + 1) * CELLS_PER_BLOB]
        verify_cells(
            [(commitment, i, cell, proof) for (i, cell), proof in zip(cells, of_blob, strict=True)],
            setup,
        )


def verify_cells(cells: Sequence[tuple[bytes, int, bytes, bytes]], setup: Setup) -> None:
    """That each (commitment, index, cell, proof) holds. Raises `InvalidPayload` 8111 .. 8116."""
    if not 1 <= len(cells) <= CELLS_PER_CHECK_MAX:
        text = f"{len(cells)} cells in one check: give 1 to {CELLS_PER_CHECK_MAX}"
        raise InvalidPayload(CELL_COUNT, text)
    for commitment, index, cell, proof in cells:
        _check_point(commitment)
        _check_cell(index, cell)
        _check_point(proof)
    columns = [list(column) for column in zip(*cells, strict=True)]
    if not _call(NOT_A_POINT, ckzg.verify_cell_kzg_proof_batch, *columns, setup):
        raise InvalidPayload(PROOF_WRONG, "one of the cells is not the commitment's; ask others")


def recover(
    commitment: bytes, cells: Mapping[int, tuple[bytes, bytes]], setup: Setup
) -> tuple[bytes, Extended]:
    """(blob, its extension) from at least 64 cells with their proofs, by index.

    Raises `InvalidPayload` 8111 .. 8115; nothing that was not verified is used.
    """
    if len(cells) < CELLS_TO_RECOVER:
        text = f"{len(cells)} cells: {CELLS_TO_RECOVER} are needed to recover a blob"
        raise InvalidPayload(TOO_FEW_CELLS, text, count=len(cells))
    rows = [(commitment, i, *cells[i]) for i in sorted(cells)]
    verify_cells(rows, setup)
    indexes, values = [row[1] for row in rows], [row[2] for row in rows]
    all_cells, proofs = ckzg.recover_cells_and_kzg_proofs(indexes, values, setup)
    extended = tuple(map(bytes, all_cells))
    blob = b"".join(extended[:CELLS_TO_RECOVER])  # the code is systematic: half of it is the blob
    if commit(blob, setup) != commitment:
        raise InvalidPayload(OTHER_COMMITMENT, "what was recovered has another commitment")
    return blob, Extended(commitment, extended, tuple(map(bytes, proofs)))


def check_blob(blob: bytes) -> None:
    """131,072 bytes, every element below the modulus; `InvalidPayload` `NOT_A_BLOB`."""
    if len(blob) != BLOB_BYTES:
        text = f"a blob has {BLOB_BYTES} bytes, not {len(blob)}"
        raise InvalidPayload(NOT_A_BLOB, text)
    _check_elements(blob, NOT_A_BLOB)


def _check_elements(data: bytes, number: int) -> None:
    if max(data[::ELEMENT_BYTES]) < BLS_MODULUS >> 248:
        return
    for at in range(0, len(data), ELEMENT_BYTES):
        if int.from_bytes(data[at : at + ELEMENT_BYTES], "big") >= BLS_MODULUS:
            text = f"element {at // ELEMENT_BYTES} is not below the modulus of the field"
            raise InvalidPayload(number, text, element=at // ELEMENT_BYTES)


def _check_cell(index: int, cell: bytes) -> None:
    if not 0 <= index < CELLS_PER_BLOB or len(cell) != CELL_BYTES:
        text = f"cell {index} of {len(cell)} bytes: there are {CELLS_PER_BLOB} of {CELL_BYTES}"
        raise InvalidPayload(NOT_A_CELL, text)
    _check_elements(cell, NOT_A_CELL)


def _check_point(point: bytes) -> None:
    if len(point) != COMMITMENT_BYTES:
        text = f"a commitment or proof has {COMMITMENT_BYTES} bytes, not {len(point)}"
        raise InvalidPayload(NOT_A_POINT, text)


def _call(number: int, function: Any, *arguments: Any) -> Any:
    """ckzg refuses points off the curve or the subgroup with a bare RuntimeError."""
    try:
        return function(*arguments)
    except RuntimeError:
        text = "a commitment or proof is no point of the group; ask for it again"
        raise InvalidPayload(number, text) from None
