"""What proves a snapshot to a stranger: a quorum certified its block, or one right above it.

What lives here: the bytes, making and checking. What must never live here: chunks, or the network.

      RLP list: manifest (storage/snapshots.py, as a byte string),
                list of headers (byte strings), certificate (byte string)

Theory. A certificate names a block by its hash, and a header names its parent. So a certificate of
block h + n, with the n headers above h, proves the header h, and that header's state root proves
the state. The headers are few, because a leader stops promising 8 uncertified blocks ahead.
"""

from typing import Final, NamedTuple

from consensus import codec
from consensus.block import HEADER_BYTES_MAX, Header, block_hash, decode_header, encode_header
from consensus.exceptions import ConsensusError
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    Subject,
    check_certificate,
    decode_certificate,
)
from node.exceptions import NodeError
from p2p.exchange.snapshots import SnapshotName
from storage.blocks import Reading
from storage.exceptions import StorageError
from storage.snapshots import MANIFEST_BYTES_MAX, Manifest, decode_manifest

UNREADABLE: Final = 7400
OTHER_SNAPSHOT: Final = 7401
NOT_LINKED: Final = 7402
NOT_CERTIFIED: Final = 7403

HEADERS_MAX: Final = 64
PROOF_BYTES_MAX: Final = MANIFEST_BYTES_MAX + HEADERS_MAX * HEADER_BYTES_MAX + 1024


class Proof(NamedTuple):
    """`above` are the headers over the snapshot's block, up to the certified one."""

    manifest: Manifest
    above: tuple[Header, ...]
    certificate: Certificate


def prove(blocks: Reading, manifest: Manifest) -> bytes | None:
    """The proof of a kept snapshot; None while no block near above it has a certificate."""
    headers: list[bytes] = []
    for height in range(manifest.height, blocks.head().height + 1):
        if height > manifest.height:
            if len(headers) == HEADERS_MAX:
                break
            headers.append(encode_header(blocks.header(height)))
        certificate = blocks.certificate(height)
        if certificate:
            return codec.encode([manifest.encode(), headers, certificate])
    return None


def decode_proof(data: bytes) -> Proof:
    """Raises `NodeError` 7400; nothing is verified."""
    try:
        parts = codec.read_record(codec.decode(data, limit_bytes=PROOF_BYTES_MAX), 3)
        headers = codec.read_list(parts[1], HEADERS_MAX)
        return Proof(
            decode_manifest(codec.read_string(parts[0], MANIFEST_BYTES_MAX)),
            tuple(decode_header(codec.read_string(one, HEADER_BYTES_MAX)) for one in headers),
            decode_certificate(codec.read_string(parts[2], CERTIFICATE_BYTES_MAX)),
        )
    except (ConsensusError, StorageError) as error:
        raise NodeError(UNREADABLE, f"a snapshot's proof is unreadable: {error}") from error


def check_proof(
    genesis_hash: bytes, validators: ValidatorSet, name: SnapshotName, proof: Proof
) -> None:
    """Raise `NodeError` 7401 .. 7403 unless a quorum of this chain stands for this snapshot."""
    manifest = proof.manifest
    header = manifest.header
    if manifest.genesis_hash != genesis_hash:
        raise NodeError(OTHER_SNAPSHOT, "the snapshot is one of another chain")
    if (header.height, header.state_root) != name:
        raise NodeError(OTHER_SNAPSHOT, f"asked for snapshot {name.height}, got {header.height}")
    for above in proof.above:
        if (above.height, above.parent) != (header.height + 1, block_hash(header)):
            text = f"header {above.height} does not stand on header {header.height}"
            raise NodeError(NOT_LINKED, text)
        header = above
    if proof.certificate.subject != Subject(header.height, header.round, block_hash(header)):
        text = f"the certificate is not of block {header.height} of this proof"
        raise NodeError(NOT_CERTIFIED, text)
    try:
        check_certificate(genesis_hash, validators, proof.certificate)
    except ConsensusError as error:
        raise NodeError(NOT_CERTIFIED, f"the certificate does not hold: {error}") from error
