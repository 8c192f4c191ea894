"""A block with its proposer's seal: what leaders gossip and peers serve.

What lives here: the bytes and the check that need no state. What must never live here: a replay.

      one zstd frame, with its content size, of
      RLP list: block (as a byte string), seal (96 bytes), certificate (byte string, may be empty)

Why compressed: docs/decisions/0012-blocks-travel-compressed.md. The frame's bytes decide nothing:
what is signed is the block's hash.
"""

from dataclasses import dataclass
from typing import Final

import zstandard

from consensus import codec
from consensus.block import BLOCK_BYTES_MAX, Block, block_hash, decode_block, encode_block
from consensus.da.payload import decompress
from consensus.exceptions import InvalidVote
from consensus.finality.bls import SIGNATURE_BYTES
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import (
    CERTIFICATE_BYTES_MAX,
    Subject,
    check_certificate,
    check_seal,
    decode_certificate,
)

NOT_LEADER: Final = 4530
OTHER_CERTIFICATE: Final = 4531
SEALED_BYTES_MAX: Final = BLOCK_BYTES_MAX + 512
LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class SealedBlock:
    block: Block
    seal: bytes
    certificate: bytes = b""

    @property
    def subject(self) -> Subject:
        header = self.block.header
        return Subject(header.height, header.round, block_hash(header))


def encode_sealed(sealed: SealedBlock) -> bytes:
    data = codec.encode([encode_block(sealed.block), sealed.seal, sealed.certificate])
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def decode_sealed(data: bytes) -> SealedBlock:
    """The sealed block whose bytes these are; nothing is verified.

    Raises `InvalidPayload` 8014, 8020, 8021 for the frame, before anything of a size over the limit
    is made, and `InvalidEncoding` for what is in it.
    """
    content = decompress(data, SEALED_BYTES_MAX)
    parts = codec.read_record(codec.decode(content, limit_bytes=SEALED_BYTES_MAX), 3)
    return SealedBlock(
        decode_block(codec.read_string(parts[0], BLOCK_BYTES_MAX)),
        codec.read_bytes(parts[1], SIGNATURE_BYTES),
        codec.read_string(parts[2], CERTIFICATE_BYTES_MAX),
    )


def check_origin(
    genesis_hash: bytes, validators: ValidatorSet, leader: int, sealed: SealedBlock
) -> None:
    """Raise `InvalidVote` or `InvalidSignature` unless the block is the leader's.

    A quorum's certificate says so too, and is enough alone: its signers saw the seal.
    """
    subject = sealed.subject
    if sealed.block.header.proposer != leader:
        text = f"validator {sealed.block.header.proposer} proposes, {leader} leads"
        raise InvalidVote(NOT_LEADER, text)
    if not sealed.certificate:
        check_seal(genesis_hash, validators, leader, subject, sealed.seal)
        return
    certificate = decode_certificate(sealed.certificate)
    if certificate.subject != subject:
        raise InvalidVote(OTHER_CERTIFICATE, "the certificate is another block's")
    check_certificate(genesis_hash, validators, certificate)
