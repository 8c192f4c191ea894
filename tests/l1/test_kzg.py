"""Commitments, cells and proofs: golden vectors, and lies are refused by number."""

import json
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from consensus.da import kzg
from consensus.da.blobs import BLOB_BYTES, pack
from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import BLS_MODULUS, evaluation_point
from node.exceptions import NodeError
from node.l1 import trusted_setup

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "blobs.json").read_text())
BLOB = pack(Random(7).randbytes(60_000))[0]
SETUP = trusted_setup.load()
DONE = kzg.extend(BLOB, SETUP)


def cell(index: int) -> tuple[bytes, int, bytes, bytes]:
    return DONE.commitment, index, DONE.cells[index], DONE.proofs[index]


def number_of(function: object, *arguments: object) -> int:
    assert callable(function)
    with pytest.raises(InvalidPayload) as caught:
        function(*arguments)
    return caught.value.number


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_blobs_have_the_commitments_and_openings_of_their_vector(vector: dict[str, object]) -> None:
    data = Random(int(str(vector["seed"]))).randbytes(int(str(vector["length"])))
    commitments = [kzg.commit(blob, SETUP) for blob in pack(data)]
    hashes = [kzg.versioned_hash(commitment) for commitment in commitments]
    assert [one.hex() for one in commitments] == vector["commitments"]
    assert [one.hex() for one in hashes] == vector["versioned_hashes"]
    z = evaluation_point(hashes[0], sha256(data).digest())
    proof, y = kzg.open_blob(pack(data)[0], z, SETUP)
    assert (hex(z), hex(y), proof.hex()) == (vector["z"], vector["y"], vector["opening"])


def test_the_cells_are_pinned() -> None:
    assert sha256(b"".join(DONE.cells)).hexdigest() == (
        "c547fa7cac51989ab3e25ddf3c586048ce83d2ce2e1b007d68e28a0631c79cd2"
    )
    assert sha256(b"".join(DONE.proofs)).hexdigest() == (
        "2c04982d07892e29a932b5e5bb4b8254597030d04b20f05b665f6b90dc4ca91d"
    )


def test_the_commitment_to_nothing_is_the_point_at_infinity() -> None:
    assert kzg.commit(bytes(BLOB_BYTES), SETUP) == b"\xc0" + bytes(47)


def test_what_was_extended_verifies_and_half_of_it_gives_back_the_blob() -> None:
    kzg.verify_cells([cell(i) for i in range(0, 128, 5)], SETUP)
    kzg.verify_sidecar([BLOB], [DONE.commitment], DONE.proofs, SETUP)
    kept = {i: (DONE.cells[i], DONE.proofs[i]) for i in Random(1).sample(range(128), 64)}
    assert kzg.recover(DONE.commitment, kept, SETUP) == (BLOB, DONE)


def test_one_bad_cell_among_enough_good_ones_is_found_before_recovery() -> None:
    kept = {i: (DONE.cells[i], DONE.proofs[i]) for i in range(65)}
    kept[3] = flipped(DONE.cells[3]), DONE.proofs[3]
    assert number_of(kzg.recover, DONE.commitment, kept, SETUP) == kzg.PROOF_WRONG
    del kept[3], kept[4]
    assert number_of(kzg.recover, DONE.commitment, kept, SETUP) == kzg.TOO_FEW_CELLS


def test_lies_about_cells_are_refused_by_number() -> None:
    good = cell(5)
    assert number_of(kzg.verify_cells, [cell(4), (good[0], 6, *good[2:])], SETUP) == kzg.PROOF_WRONG
    assert number_of(kzg.verify_cells, [(good[0], 128, *good[2:])], SETUP) == kzg.NOT_A_CELL
    assert number_of(kzg.verify_cells, [(*good[:2], good[2][1:], good[3])], SETUP) == kzg.NOT_A_CELL
    above = b"\xff" * 32 + good[2][32:]
    assert number_of(kzg.verify_cells, [(*good[:2], above, good[3])], SETUP) == kzg.NOT_A_CELL
    assert number_of(kzg.verify_cells, [(*good[:3], good[3][1:])], SETUP) == kzg.NOT_A_POINT
    assert number_of(kzg.verify_cells, [(*good[:3], bytes(48))], SETUP) == kzg.NOT_A_POINT
    assert number_of(kzg.verify_cells, [], SETUP) == kzg.CELL_COUNT
    many = [good] * (kzg.CELLS_PER_CHECK_MAX + 1)
    assert number_of(kzg.verify_cells, many, SETUP) == kzg.CELL_COUNT


def test_a_sidecar_of_another_blob_is_refused() -> None:
    other = flipped(BLOB)
    sidecar = [other], [DONE.commitment], DONE.proofs
    assert number_of(kzg.verify_sidecar, *sidecar, SETUP) == kzg.PROOF_WRONG
    short = [BLOB], [DONE.commitment], DONE.proofs[1:]
    assert number_of(kzg.verify_sidecar, *short, SETUP) == kzg.CELL_COUNT
    proof = kzg.blob_proof(BLOB, DONE.commitment, SETUP)
    kzg.verify_blob(BLOB, DONE.commitment, proof, SETUP)
    assert number_of(kzg.verify_blob, other, DONE.commitment, proof, SETUP) == kzg.PROOF_WRONG


def test_bytes_that_are_no_blob_are_refused_and_the_element_is_named() -> None:
    assert number_of(kzg.commit, BLOB[:-1], SETUP) == kzg.NOT_A_BLOB
    at_modulus = bytes(32 * 9) + BLS_MODULUS.to_bytes(32, "big") + bytes(BLOB_BYTES - 320)
    with pytest.raises(InvalidPayload) as caught:
        kzg.commit(at_modulus, SETUP)
    assert (caught.value.number, caught.value.facts["element"]) == (kzg.NOT_A_BLOB, 9)
    below = bytes(32 * 9) + (BLS_MODULUS - 1).to_bytes(32, "big") + bytes(BLOB_BYTES - 320)
    assert len(kzg.commit(below, SETUP)) == kzg.COMMITMENT_BYTES


def test_a_setup_that_is_not_the_ceremony_s_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "setup.txt"
    other.write_bytes(flipped(trusted_setup.path().read_bytes()))
    monkeypatch.setenv(trusted_setup.VARIABLE, str(other))
    with pytest.raises(NodeError) as caught:
        trusted_setup.path()
    assert caught.value.number == trusted_setup.SETUP_DIFFERENT
    other.unlink()
    with pytest.raises(NodeError) as caught:
        trusted_setup.path()
    assert caught.value.number == trusted_setup.SETUP_MISSING
