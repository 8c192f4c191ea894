"""The parts of the devnet that need no process: fills, batches, certificates, folders."""

import json
from pathlib import Path

import pytest

from consensus.finality import bls
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import (
    VOTE_TAG,
    Certificate,
    Subject,
    Vote,
    certify,
    encode_certificate,
    text_of,
)
from consensus.genesis import Genesis
from node.commands.devnet import make_folder
from node.devnet.chain import make_validators, write_genesis
from node.devnet.fills import Fills
from node.devnet.orders import BYTES_PER_BATCH, COMMANDS_PER_BATCH, SignedFlow, wallets_of
from node.devnet.verdict import certificate_fault, venue_fault
from node.exceptions import NodeError
from node.flow.bitstamp import Kind, Message, Trade
from node.flow.wallets import Signatures
from node.key_files import read_validator
from node.submission import read_batch

NOW_MS = 1_790_000_000_000


def limit(order: int, buys: bool, price: int, quantity: int) -> Message:
    return Message(NOW_MS, Kind.LIMIT, order, buys, price, quantity, post_only=False)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Genesis, list[Path]]:
    keys = make_validators(tmp_path, 4)
    return write_genesis(tmp_path, keys, wallets_of(4), NOW_MS)[1], keys


def certificate_of(genesis: Genesis, keys: list[Path], subject: Subject) -> Certificate:
    validators = ValidatorSet(genesis.validators)
    text = text_of(VOTE_TAG, genesis.hash, validators.hash, subject)
    secrets = [read_validator(key).secret or b"" for key in keys]
    votes = [Vote(subject, n, bls.sign(secret, text)) for n, secret in enumerate(secrets)]
    return certify(validators, votes)


def test_a_certificate_is_checked_against_the_genesis_and_the_block(
    made: tuple[Genesis, list[Path]],
) -> None:
    genesis, keys = made
    validators = ValidatorSet(genesis.validators)
    certificate = certificate_of(genesis, keys[:3], Subject(7, 0, b"\x01" * 32))
    written = encode_certificate(certificate)
    header = {"height": 7, "hash": "0x" + "01" * 32, "certificate": "0x" + written.hex()}
    assert certificate_fault(header, genesis, validators) is None
    assert certificate_fault(header | {"hash": "0x" + "02" * 32}, genesis, validators)
    assert certificate_fault(header | {"certificate": None}, genesis, validators)
    forged = encode_certificate(
        Certificate(Subject(7, 0, b"\x02" * 32), certificate.bitmap, certificate.signature)
    )
    forgery = {"height": 7, "hash": "0x" + "02" * 32, "certificate": "0x" + forged.hex()}
    assert certificate_fault(forgery, genesis, validators)


def test_batches_cover_the_flow_in_order_within_their_limits(
    made: tuple[Genesis, list[Path]],
) -> None:
    genesis, _ = made
    messages = [limit(n << 20, n % 2 == 0, 100 + n, 1 + n) for n in range(700)]
    with Signatures() as signatures:
        flow = SignedFlow(genesis, wallets_of(4), signatures)
        batches = flow.batches(messages[:300], NOW_MS) + flow.batches(messages[300:], NOW_MS)
    at = 0
    for batch in batches:
        assert batch.first == at
        assert 0 < len(batch.sizes) <= COMMANDS_PER_BATCH
        groups = []
        for command in json.loads(batch.params)["commands"]:
            data = bytes.fromhex(command["group"][2:] + command["signature"][2:])
            groups += [found.group for found in read_batch(data)]
        assert sum(len(group.rows) + 65 for group in groups) <= BYTES_PER_BATCH
        assert tuple(group.size for group in groups) == batch.sizes
        at += sum(batch.sizes)
    assert at == len(messages)


def test_fills_name_the_venues_orders_whatever_order_the_answers_came_in() -> None:
    fills = Fills([limit(71, True, 5, 9), limit(72, False, 5, 4), limit(73, False, 4, 5)])
    fills.base = 10
    taker = {"maker_handle": "900", "side": "sell", "maker": 1, "taker": 2, "event": "trade"}
    fills.hear([taker | {"sequence": 12, "price": 5, "lots": 5}])
    fills.hear([taker | {"sequence": 11, "price": 5, "lots": 4}])
    fills.hear([{"event": "rested", "handle": "900", "sequence": 10}])
    assert fills.trades() == [Trade(72, 71, 5, 4, False), Trade(73, 71, 5, 5, False)]


@pytest.mark.parametrize(
    "ours",
    [
        [Trade(1, 2, 3, 4, True)],
        [Trade(1, 2, 3, 4, True), Trade(5, 6, 7, 9, True)],
        [Trade(5, 6, 7, 8, True), Trade(1, 2, 3, 4, True)],
    ],
)
def test_fills_that_are_fewer_other_or_in_another_order_are_not_the_venues(
    ours: list[Trade],
) -> None:
    venue = [Trade(1, 2, 3, 4, True), Trade(5, 6, 7, 8, True)]
    assert venue_fault(venue, venue) is None
    assert venue_fault(ours, venue)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "validator-0.json").touch()
    with pytest.raises(NodeError) as caught:
        make_folder(tmp_path)
    assert caught.value.number == 7117


def test_the_chain_has_the_chain_id_of_the_l1_that_it_settles_on(tmp_path: Path) -> None:
    keys, contract = make_validators(tmp_path, 1), bytes.fromhex("11" * 20)
    genesis = write_genesis(tmp_path, keys, wallets_of(2), NOW_MS, contract, 31337)[1]
    assert (genesis.chain_id, genesis.contract) == (31337, contract)
