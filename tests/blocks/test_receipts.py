"""Receipts: complete, the only one of their operation, and worthless once touched."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from consensus import receipts as law
from consensus.block import block_hash, decode_header
from consensus.exceptions import ConsensusError, InvalidBlock
from consensus.receipts import Receipt
from consensus.streams import bytes_proof, bytes_root

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "header.json").read_text())
HEADER = decode_header(bytes.fromhex(VECTORS[0]["rlp"]))
SEED = 20240612
FIRST, COUNT = 1001, 240
LEAF = 2048


def event_stream(rng: random.Random) -> bytes:
    """One to nine events for each operation from FIRST on."""
    events = []
    for sequence in range(FIRST, FIRST + COUNT):
        for _ in range(rng.choice([1, 1, 2, 2, 3, 9])):
            events.append(rng.randbytes(8) + sequence.to_bytes(8, "little") + rng.randbytes(48))
    return b"".join(events)


EVENTS = event_stream(random.Random(SEED))
BLOCK_HEADER = replace(
    HEADER,
    events_root=bytes_root("events", EVENTS),
    commands=COUNT,
    sequence=FIRST + COUNT - 1,
)
HASH = block_hash(BLOCK_HEADER)


def of(sequence: int) -> bytes:
    word = sequence.to_bytes(8, "little")
    records = [EVENTS[i : i + 64] for i in range(0, len(EVENTS), 64)]
    return b"".join(record for record in records if record[8:16] == word)


def number_of(receipt: Receipt, expected_hash: bytes = HASH) -> int:
    with pytest.raises(ConsensusError) as caught:
        law.verify(receipt, expected_hash)
    return caught.value.number


def test_the_receipt_of_every_operation_shows_all_its_events() -> None:
    for sequence in range(FIRST, FIRST + COUNT):
        receipt = law.make(BLOCK_HEADER, EVENTS, sequence)
        data = law.encode_receipt(receipt)
        assert law.decode_receipt(data) == receipt
        assert law.verify(law.decode_receipt(data), HASH) == of(sequence)


@pytest.mark.parametrize("sequence", [FIRST, FIRST + 30, FIRST + COUNT - 1])
def test_every_flipped_byte_of_a_receipt_is_refused_by_number_or_names_another_operation(
    sequence: int,
) -> None:
    data = law.encode_receipt(law.make(BLOCK_HEADER, EVENTS, sequence))
    for i in range(len(data)):
        bad = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
        try:
            receipt = law.decode_receipt(bad)
            events = law.verify(receipt, HASH)
        except ConsensusError as error:
            assert error.number in {*range(1001, 1017), *range(3101, 3106), *range(5400, 5404)}
        else:  # the operation's number, where another one has its events in the same leaves
            assert receipt.sequence != sequence and events == of(receipt.sequence)


def test_a_window_without_the_neighbours_is_refused() -> None:
    """The one thing that keeps a leader from leaving out the events he would rather not show."""
    tried = 0
    for sequence in range(FIRST, FIRST + COUNT):
        whole = law.make(BLOCK_HEADER, EVENTS, sequence)
        leaves = -(-len(whole.leaves) // LEAF)
        for first, count in ((whole.first_leaf + 1, leaves - 1), (whole.first_leaf, leaves - 1)):
            cut = replace(
                whole,
                first_leaf=first,
                leaves=EVENTS[LEAF * first : LEAF * (first + count)],
                path=bytes_proof(EVENTS, first, count, LEAF) if count else b"",
            )
            if count:
                assert number_of(cut) in (law.WINDOW, law.NO_EVENT)
                tried += 1
    assert tried > COUNT // 8


def test_a_window_wider_than_needed_is_refused() -> None:
    narrow = law.make(BLOCK_HEADER, EVENTS, FIRST)
    count = -(-len(narrow.leaves) // LEAF) + 1
    wide = replace(narrow, leaves=EVENTS[: LEAF * count], path=bytes_proof(EVENTS, 0, count, LEAF))
    assert number_of(wide) == law.WINDOW


def test_a_receipt_of_another_block_or_operation_is_refused() -> None:
    receipt = law.make(BLOCK_HEADER, EVENTS, FIRST)
    assert number_of(receipt, bytes(32)) == law.WRONG_BLOCK
    assert number_of(replace(receipt, sequence=FIRST - 1)) == law.SEQUENCE_OUTSIDE
    assert number_of(replace(receipt, sequence=FIRST + COUNT)) == law.SEQUENCE_OUTSIDE
    assert number_of(replace(receipt, sequence=FIRST + 50)) == law.NO_EVENT
    for sequence in (FIRST - 1, FIRST + COUNT):
        with pytest.raises(InvalidBlock) as caught:
            law.make(BLOCK_HEADER, EVENTS, sequence)
        assert caught.value.number == law.SEQUENCE_OUTSIDE


def test_a_stream_that_is_not_whole_events_is_refused() -> None:
    odd = EVENTS + b"\0"
    header = replace(BLOCK_HEADER, events_root=bytes_root("events", odd))
    receipt = law.make(header, odd, FIRST)
    assert number_of(receipt, block_hash(header)) == law.STREAM_LENGTH


def test_the_last_event_of_a_stream_of_whole_leaves_needs_no_leaf_after_it() -> None:
    events = b"".join(bytes(8) + i.to_bytes(8, "little") + bytes(48) for i in range(1, 65))
    header = replace(HEADER, events_root=bytes_root("events", events), commands=64, sequence=64)
    receipt = law.make(header, events, 64)
    assert (receipt.first_leaf, receipt.leaves) == (1, events[LEAF:])
    assert law.verify(receipt, block_hash(header)) == events[-64:]


def test_the_receipt_of_an_only_operation_is_the_whole_stream() -> None:
    events = bytes(8) + (5).to_bytes(8, "little") + bytes(48)
    header = replace(HEADER, events_root=bytes_root("events", events), commands=1, sequence=5)
    receipt = law.make(header, events, 5)
    assert (receipt.leaves, receipt.path) == (events, b"")
    assert law.verify(receipt, block_hash(header)) == events
