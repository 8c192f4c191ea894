"""What a leader has said so far, and whether its chain keeps it.

What lives here: the comparison after a crash. What must never live here: the crash.
"""

from consensus.block import block_hash
from consensus.commands import read_groups
from consensus.proposal import Opening
from storage.blocks import Blocks
from storage.journal_records import COMMAND, OPEN, Command, Open, running


class Promises:
    """Call it like a leader's `say`."""

    def __init__(self) -> None:
        self.receipts: dict[int, tuple[int, str]] = {}  # sequence -> height, running hash
        self.signed: dict[int, str] = {}

    def __call__(self, *words: object) -> None:
        kind, *rest = map(str, words)
        if kind == "receipt":
            height, sequence, hashed = int(rest[0]), int(rest[1]), rest[2]
            known = self.receipts.setdefault(sequence, (height, hashed))
            assert known == (height, hashed), f"two receipts for operation {sequence}"
        elif kind == "signed":
            height, hashed = int(rest[0]), rest[1]
            known_hash = self.signed.setdefault(height, hashed)
            assert known_hash == hashed, f"two signatures for height {height}"

    def check(self, blocks: Blocks) -> None:
        """Every receipt is in the chain at its place, every signature is of its block."""
        head = blocks.walk()
        for height, hashed in self.signed.items():
            if height <= head.height:
                assert block_hash(blocks.header(height)).hex() == hashed
        by_height = {height: running_hashes(blocks, height) for height in range(1, head.height + 1)}
        for sequence, (height, hashed) in self.receipts.items():
            if height <= head.height:
                assert by_height[height][sequence] == hashed, (height, sequence)


def running_hashes(blocks: Blocks, height: int) -> dict[int, str]:
    """{first sequence of a group: running hash after it}, computed from the block alone."""
    block, header = blocks.block(height), blocks.header(height)
    opening = Opening(
        header.time, header.l1_number, header.l1_hash, header.l1_time, header.round, header.proposer
    )
    hashed = running(b"", OPEN, Open(height, header.parent, opening, block.messages).payload())
    found = {}
    sequence = header.sequence - header.commands + 1
    for number, group in enumerate(read_groups(block.commands)):
        signature = block.signatures[65 * number : 65 * number + 65]
        command = Command(sequence, signature, group.rows)
        hashed = running(hashed, COMMAND, command.payload())
        found[sequence] = hashed.hex()
        sequence += group.size
    return found
