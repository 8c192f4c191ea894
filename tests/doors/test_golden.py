"""Golden vectors: recomputed from the code, and read by other means than that code."""

import hashlib
import json
import re
from pathlib import Path
from struct import iter_unpack, unpack
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from golden import FILES, VECTORS, Vector, text_of
from signed_chain import address, owner

from consensus import layout, receipts, typed_data
from consensus.block import decode_block
from consensus.chain import genesis_state
from consensus.genesis import parse
from consensus.keccak import keccak256
from consensus.signatures import recover
from consensus.state.statements import verify_account
from consensus.transition import apply_block
from consensus.typed_data import Domain, Operation

DOCS = Path(__file__).parents[2] / "docs" / "protocol"


def vector(name: str) -> Vector:
    value: Vector = json.loads((VECTORS / name).read_text(encoding="ascii"))
    return value


@pytest.mark.parametrize("name", FILES)
def test_a_vector_is_what_the_code_makes(name: str) -> None:
    assert text_of(FILES[name]()) == (VECTORS / name).read_text(encoding="ascii"), (
        f"{name}: another format. If it is meant: `python tests/doors/golden.py`, and see its law"
    )


def test_every_vector_is_listed_on_the_protocols_front_page() -> None:
    page = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in VECTORS.glob("*.json"):
        assert f"`{path.name}`" in page


def test_the_words_of_the_ledger_header_are_those_of_the_page_and_of_the_vector() -> None:
    """A changed constant is a new layout version, and the page must say so."""
    page = (DOCS / "layout.md").read_text(encoding="utf-8")
    text = page.split("### Ledger header")[1].split("Parameters (word")[0]
    constants = vector("layout.json")["constants"]
    found = 0
    for words, names in re.findall(r"^\| ([0-9., ]+) \| (`.+?`) \|", text, re.MULTILINE):
        first = int(re.match(r"\d+", words).group())  # type: ignore[union-attr]
        for n, name in enumerate(re.findall("`(.+?)`", names)):
            assert constants[name] == str(first + n), name
            found += 1
    assert found >= 20


def test_scratch_is_no_part_of_the_layout_and_every_other_number_is() -> None:
    names = set(vector("layout.json")["constants"])
    mine = {name for name, value in vars(layout).items() if isinstance(value, int)}
    assert {name for name in mine - names if not name.startswith("S_")} == {
        "EVENTS_MAX", "CTZ_FACTOR",
    }  # fmt: skip


def test_a_handle_is_its_slot_and_the_count_of_the_slots_uses() -> None:
    for entry in vector("layout.json")["handles"]:
        assert int(entry["handle"]) == entry["generation"] * 2**24 + entry["slot"]
        assert int(entry["handle"]) < 2**63
    handles = [int(h) for block in vector("chain.json")["blocks"] for h in block.get("handles", ())]
    assert [(h >> 24, h % 2**24) for h in handles] == [(1, 1), (1, 2), (2, 1), (1, 1)]


def shown(entry: dict[str, str]) -> Operation:
    return Operation(
        entry["action"], entry["market"], entry["side"], int(entry["price"]),
        int(entry["quantity"]), entry["terms"], bytes.fromhex(entry["row"]),
    )  # fmt: skip


def domain_of(chain: Vector) -> Domain:
    genesis = chain["genesis"]
    contract, salt = bytes.fromhex(genesis["contract"][2:]), bytes.fromhex(chain["genesis_hash"])
    return Domain(genesis["chain_id"], contract, salt)


@pytest.mark.parametrize("name", ["owner", "governance"])
def test_what_a_wallet_signs_is_what_eth_account_makes_of_the_words_and_rows(name: str) -> None:
    data = vector("commands.json")
    by_row = {entry["row"]: entry for entry in data["operations"].values()}
    group = data["groups"][name]
    rows = bytes.fromhex(group["rows"])
    _, _, nonce, expires = unpack("<4q", rows[:32])
    operations = [shown(by_row[rows[at : at + 64].hex()]) for at in range(64, len(rows), 64)]
    message = typed_data.as_json(
        domain_of(vector("chain.json")), bytes.fromhex(group["signer"]), nonce, expires, operations
    )
    signable = encode_typed_data(full_message=json.loads(json.dumps(message)))
    digest = keccak256(b"\x19" + signable.version + signable.header + signable.body)
    assert digest.hex() == group["digest"]
    assert signable.header.hex() == data["separator"]
    assert recover(digest, bytes.fromhex(group["signature"])).hex() == group["signer"]


def test_what_a_session_key_signs_is_the_hash_of_its_layout() -> None:
    group = vector("commands.json")["groups"]["session"]
    rows = bytes.fromhex(group["rows"])
    word, account, nonce, expires = unpack("<4q", rows[:32])
    preimage = (
        b"rialto/session/1" + bytes.fromhex(vector("chain.json")["genesis_hash"])
        + account.to_bytes(4, "little") + bytes([word >> 16]) + group["epoch"].to_bytes(4, "little")
        + nonce.to_bytes(8, "little") + expires.to_bytes(8, "little") + bytes([word >> 8 & 255])
        + rows[64:]
    )  # fmt: skip
    assert group["epoch"] == 1
    assert hashlib.sha256(preimage).hexdigest() == group["digest"]
    digest, signature = bytes.fromhex(group["digest"]), bytes.fromhex(group["signature"])
    assert recover(digest, signature).hex() == group["signer"]


def test_every_operation_has_a_row_in_the_vector() -> None:
    rows = [bytes.fromhex(entry["row"]) for entry in vector("commands.json")["operations"].values()]
    operations = {value for name, value in vars(layout).items() if name.startswith("OP_")}
    assert {row[0] for row in rows} == operations
    assert all(len(row) == 64 for row in rows)


def test_the_chain_replays_from_its_genesis_and_its_receipts_hold() -> None:
    data = vector("chain.json")
    state = genesis_state(parse(json.dumps(data["genesis"]).encode("ascii")))
    assert state.chain.genesis_hash.hex() == data["genesis_hash"]
    assert state.head_hash.hex() == data["blocks"][0]["hash"]
    for entry in data["blocks"][1:]:
        outcome = apply_block(state, decode_block(bytes.fromhex(entry["block"])))
        events = [outcome.events[at : at + 64].hex() for at in range(0, len(outcome.events), 64)]
        assert (outcome.hash.hex(), events) == (entry["hash"], entry["events"])
        assert state.head.state_root.hex() == entry["state_root"]
        for sequence, receipt in entry["receipts"].items():
            decoded = receipts.decode_receipt(bytes.fromhex(receipt))
            found = receipts.verify(decoded, outcome.hash)
            assert {words[1] for words in iter_unpack("<8q", found)} == {int(sequence)}
    facts = verify_account(
        state.head.state_root, bytes.fromhex(data["account_proof"]), address(owner(2))
    )
    assert facts is not None and facts.account == 2


def test_the_chain_has_a_trade_a_withdrawal_an_l1_message_and_a_listing() -> None:
    kinds: set[Any] = set()
    for block in vector("chain.json")["blocks"]:
        kinds |= {bytes.fromhex(event)[0] for event in block.get("events", ())}
    assert {1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14} <= kinds


def test_fork_ids_are_the_first_bytes_of_the_documented_hash() -> None:
    data = vector("forks.json")
    for genesis_hash, fork_id in data["fork_ids"].items():
        text = b"rialto/fork/1" + bytes.fromhex(genesis_hash)
        for name, height, _, _ in data["forks"]:
            text += name.encode("ascii") + b"\0" + height.to_bytes(8, "little")
        assert hashlib.sha256(text).hexdigest()[:8] == fork_id
