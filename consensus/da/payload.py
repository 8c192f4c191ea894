"""The payload of a batch: the bytes from which replay rebuilds every block, and their zstd form.

What lives here: what of a block is posted, its canonical byte form, compression. What must never
live here: blobs, the batch's commitment, and whether a block is allowed. docs/protocol/payload.md
says the same for a second implementation.

Theory. A header is rebuilt by replay but for what its proposer chose: time, round, proposer, L1
origin, and the rows. Only these are posted, for a batch as a whole, as columns (`columns.py`) that a
walk over the rows fills (`rows.py`). The batch commits to the SHA-256 of the *uncompressed* payload:
zstd's output depends on its version and level, so the compressed bytes are never made again and
compared. The uncompressed payload has one form per value, and `decode` refuses every other.

What a reader of the state knows is left out: the signer of a command is the address of its key, and
`restore_signers` writes it back, because signatures and `commands_root` are over whole rows.

Signatures are posted whole, or stay in the side-car until a proof covers them; then each block
has the 32 bytes of its `signatures_root` in their place, which its hash needs.
"""

from collections.abc import Callable, Sequence
from itertools import chain, pairwise, repeat
from struct import Struct
from struct import pack as struct_pack
from typing import Final, NamedTuple, TypeAlias

import zstandard

from consensus import block
from consensus.block import COUNT_BITS, HASH_BYTES, PROPOSER_BITS, ROUND_BITS, SIGNATURE_BYTES
from consensus.da import rows
from consensus.da.columns import PLAIN, SIGNED, ColumnReader, Columns, ColumnWriter, plane_ends
from consensus.da.rows import Row, Walk
from consensus.exceptions import InvalidBlock, InvalidPayload
from consensus.layout import KEY_DEPOSIT

PREFIX_FORM: Final = 8013
PAYLOAD_TOO_LONG: Final = 8014
BLOCK_COUNT: Final = 8015
ROW_COUNT: Final = 8016
BLOCK_FIELD: Final = 8017
ORIGIN: Final = 8018
SIGNATURES: Final = 8019
NOT_ZSTD: Final = 8020
CONTENT_SIZE: Final = 8021

VERSION: Final = 1
BLOCKS_MAX: Final = 1 << 14
"""Blocks of a batch."""
ROWS_MAX: Final = 1 << 18
"""Rows of a batch: more than six full blobs hold, and 16 MiB when unpacked."""
PAYLOAD_BYTES_MAX: Final = 32 << 20
"""A row needs at most 76 bytes (its words, word 0 and mask once more), its group's signature 65."""

LEVEL: Final = 19
WINDOW_BYTES_MAX: Final = 1 << 23
"""The largest window a decompressor must offer (RFC 8878, 3.1.1.1.2 recommends 8 MiB)."""
FRAME_MAGIC: Final = bytes.fromhex("28b52ffd")

PREFIX: Final = Struct("<BBH")
"""Version, 1 if signatures are posted and 0 if their roots are, zero."""
ROW: Final = Struct("<8q")
ZERO_ROW: Final[Row] = (0, 0, 0, 0, 0, 0, 0, 0)

BLOCK_COLUMNS: Final = (
    ("time", SIGNED), ("round", PLAIN), ("proposer", PLAIN), ("l1_number", SIGNED),
    ("l1_time", SIGNED), ("messages", PLAIN), ("commands", PLAIN),
)  # fmt: skip
COLUMNS: Final = rows.GROUP_COLUMNS + rows.ROW_COLUMNS + BLOCK_COLUMNS
