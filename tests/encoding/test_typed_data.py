"""Wallet digests against eth-account and the EIP's own example; session digests against the page.

The golden digests are also printed in docs/protocol/encoding.md.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import codec, signatures, typed_data
from consensus.exceptions import InvalidSignature
from consensus.keccak import keccak256
from consensus.signatures import sign
from consensus.typed_data import Domain, Operation, Types

FUZZ = settings(max_examples=150, derandomize=True, deadline=None, database=None)
PAGE = Path(__file__).parents[2] / "docs" / "protocol" / "encoding.md"

DOMAIN = Domain(1_337, bytes(range(20)), bytes(range(100, 132)))
OWNER = bytes.fromhex("7e5f4552091a69125d5dfcb7b8c2659029395bdf")
PLACE = Operation(
    "place limit order", "BTC-USD", "buy", 6_500_000, 250, "good till cancelled, post only",
    bytes(range(64)),
)  # fmt: skip
CANCEL = Operation("cancel order", "BTC-USD", "", 0, 0, "handle 16777217", bytes(range(64, 128)))
GROUP_DIGEST = "618560d601aa15b651503b95be635523fa60ccba79cbbc19f1e9b10435324af2"
SESSION_DIGEST = "97c641fd4356a353b968132d40b972488f9e5c380142d39e1b583b710a23f3c7"

words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
uint64 = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1 << 53, (1 << 64) - 1]))
operations = st.builds(
    Operation, words, words, words, uint64, uint64, words, st.binary(min_size=64, max_size=64)
)
domains = st.builds(
    Domain,
    st.integers(1, typed_data.CHAIN_ID_MAX),
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=32, max_size=32),
)
groups = st.lists(operations, min_size=1, max_size=4)


def oracle(message: object) -> bytes:
    """Return eth-account's digest of a typed-data object that has been through JSON text."""
    signable = encode_typed_data(full_message=json.loads(json.dumps(message)))
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def digest(*, domain: Domain = DOMAIN, owner: bytes = OWNER, nonce: int = 7,
           expires_ms: int = 1_700_000_000_000, ops: tuple[Operation, ...] = (PLACE, CANCEL),
           ) -> bytes:  # fmt: skip
    separator = typed_data.domain_separator(domain)
    return typed_data.digest(separator, owner, nonce, expires_ms, ops)


def session(*, genesis_hash: bytes = bytes(range(100, 132)), account: int = 3, key_slot: int = 2,
            grant_epoch: int = 5, nonce: int = 9, expires_ms: int = 1_700_000_000_000,
            ops: bytes = bytes(range(128)),
            ) -> bytes:  # fmt: skip
    return typed_data.session_digest(
        genesis_hash, account, key_slot, grant_epoch, nonce, expires_ms, ops
    )


def number_of(refused: Callable[[], object]) -> int:
    with pytest.raises(InvalidSignature) as caught:
        refused()
    assert str(caught.value).startswith(f"E{caught.value.number}: ")
    return caught.value.number


def test_the_mail_example_of_the_eip_gives_the_published_hashes() -> None:
    types: Types = {
        "EIP712Domain": typed_data.DOMAIN_TYPES["EIP712Domain"][:4],
        "Person": (("string", "name"), ("address", "wallet")),
        "Mail": (("Person", "from"), ("Person", "to"), ("string", "contents")),
    }
    domain = {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": bytes.fromhex("cc" * 20),
    }
    mail = {
        "from": {
            "name": "Cow",
            "wallet": bytes.fromhex("cd2a3d9f938e13cd947ec05abc7fe734df8dd826"),
        },
        "to": {"name": "Bob", "wallet": bytes.fromhex("bb" * 20)},
        "contents": "Hello, Bob!",
    }
    assert typed_data.encode_type("Mail", types) == (
        "Mail(Person from,Person to,string contents)Person(string name,address wallet)"
    )
    separator = typed_data.hash_struct("EIP712Domain", types, domain)
    body = typed_data.hash_struct("Mail", types, mail)
    assert separator.hex() == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    assert body.hex() == "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
    assert keccak256(b"\x19\x01" + separator + body).hex() == (
        "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    )


@FUZZ
@given(domains, st.binary(min_size=20, max_size=20), uint64, uint64, groups)
def test_the_digest_is_what_a_wallet_computes_from_the_json_and_what_the_engine_computes(
    domain: Domain, owner: bytes, nonce: int, expires_ms: int, ops: list[Operation]
) -> None:
    separator = typed_data.domain_separator(domain)
    ours = typed_data.digest(separator, owner, nonce, expires_ms, ops)
    assert ours == oracle(typed_data.as_json(domain, owner, nonce, expires_ms, ops))
    shown: list[dict[str, object]] = []
    for operation in ops:
        members: dict[str, object] = dict(operation._asdict())
        row = members.pop("row")
        assert isinstance(row, bytes)
        shown.append({**members, "row1": row[:32], "row2": row[32:]})
    message = {"owner": owner, "nonce": nonce, "expires": expires_ms, "operations": shown}
    body = typed_data.hash_struct("Commands", typed_data.COMMAND_TYPES, message)
    assert ours == keccak256(b"\x19\x01" + separator + body)


@FUZZ
@given(st.data())
def test_every_type_of_the_engine_hashes_as_the_reference_library_hashes_it(
    data: st.DataObject,
) -> None:
    kinds: dict[str, st.SearchStrategy[object]] = {
        "bool": st.booleans(),
        "address": st.binary(min_size=20, max_size=20),
        "bytes32": st.binary(min_size=32, max_size=32),
        "bytes": st.binary(max_size=70),
        "string": st.text(max_size=20),
    }
    for bits in (8, 64, 104, 256):
        kinds[f"uint{bits}"] = st.integers(0, (1 << bits) - 1)
        kinds[f"int{bits}"] = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    drawn = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))
    leaf = tuple((kind, f"m{i}") for i, kind in enumerate(drawn))
    types: Types = {
        "Zed": (("Leaf", "one"), ("Leaf[]", "many"), ("uint64[]", "numbers"), ("Alpha", "last")),
        "Leaf": leaf,
        "Alpha": (("Leaf", "inner"),),
    }

    def draw_leaf() -> dict[str, object]:
        return {name: data.draw(kinds[kind]) for kind, name in leaf}

    value = {
        "one": draw_leaf(),
        "many": [draw_leaf() for _ in range(data.draw(st.integers(0, 3)))],
        "numbers": data.draw(st.lists(uint64, max_size=3)),
        "last": {"inner": draw_leaf()},
    }
    signable = encode_typed_data(
        {"name": "test"},
        {
            struct: [{"type": kind, "name": name} for kind, name in members]
            for struct, members in types.items()
        },
        value,
    )
    assert typed_data.hash_struct("Zed", types, value) == signable.body


def test_the_json_lists_its_types_in_signing_order_and_keeps_wide_integers_as_text() -> None:
    shown = typed_data.as_json(DOMAIN, OWNER, 1 << 63, 5, [PLACE])
    assert shown["primaryType"] == "Commands"
    types = shown["types"]
    assert isinstance(types, dict)
    names = ["action", "market", "side", "price", "quantity", "terms", "row1", "row2"]
    assert [member["name"] for member in types["Operation"]] == names
    assert shown["domain"] == {
        "name": "Rialto",
        "version": "1",
        "chainId": 1_337,
        "verifyingContract": "0x" + bytes(range(20)).hex(),
        "salt": "0x" + bytes(range(100, 132)).hex(),
    }
    assert shown["message"] == {
        "owner": "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf",
        "nonce": "9223372036854775808",
        "expires": "5",
        "operations": [
            {
                "action": "place limit order",
                "market": "BTC-USD",
                "side": "buy",
                "price": "6500000",
                "quantity": "250",
                "terms": "good till cancelled, post only",
                "row1": "0x" + bytes(range(32)).hex(),
                "row2": "0x" + bytes(range(32, 64)).hex(),
            }
        ],
    }


def test_every_field_of_a_group_and_of_its_domain_changes_the_digest() -> None:
    other_rows = [PLACE.row[:i] + bytes((PLACE.row[i] ^ 1,)) + PLACE.row[i + 1 :] for i in (0, 63)]
    changed = [
        digest(),
        digest(domain=DOMAIN._replace(chain_id=1)),
        digest(domain=DOMAIN._replace(contract=bytes(20))),
        digest(domain=DOMAIN._replace(genesis_hash=bytes(32))),
        digest(owner=bytes(20)),
        digest(nonce=8),
        digest(expires_ms=1_700_000_000_001),
        digest(ops=(CANCEL, PLACE)),
        digest(ops=(PLACE,)),
        digest(ops=(PLACE, CANCEL, CANCEL)),
        digest(ops=(PLACE._replace(action="place limit orders"), CANCEL)),
        digest(ops=(PLACE._replace(market="ETH-USD"), CANCEL)),
        digest(ops=(PLACE._replace(side="sell"), CANCEL)),
        digest(ops=(PLACE._replace(price=6_500_001), CANCEL)),
        digest(ops=(PLACE._replace(quantity=251), CANCEL)),
        digest(ops=(PLACE._replace(terms=""), CANCEL)),
        *[digest(ops=(PLACE._replace(row=row), CANCEL)) for row in other_rows],
    ]
    assert len(set(changed)) == len(changed)


def test_the_golden_digests_are_those_of_the_protocol_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    private_key = (1).to_bytes(32, "big")
    assert digest().hex() == GROUP_DIGEST
    assert session().hex() == SESSION_DIGEST
    for golden in (
        typed_data.domain_separator(DOMAIN).hex(),
        typed_data.COMMANDS_HASH.hex(),
        typed_data.OPERATION_HASH.hex(),
        typed_data.encode_type("Commands", typed_data.COMMAND_TYPES),
        typed_data.encode_type("EIP712Domain", typed_data.DOMAIN_TYPES),
        GROUP_DIGEST,
        SESSION_DIGEST,
        sign(private_key, digest()).hex(),
        sign(private_key, session()).hex(),
    ):
        assert golden in page


@pytest.mark.parametrize("module", [codec, signatures, typed_data])
def test_every_error_number_stands_beside_its_name_in_the_protocol_page(module: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    numbers = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int) and 1001 <= value <= 2999
    }
    assert len(set(numbers.values())) == len(numbers) > 8
    for name, value in numbers.items():
        assert f"| {value} | `{name}` |" in page


def test_a_session_digest_is_the_sha256_of_the_documented_layout() -> None:
    preimage = b"rialto/session/1" + bytes(range(100, 132)) + bytes.fromhex(
        "03000000" "02" "05000000" "0900000000000000" "0068e5cf8b010000" "02"
    ) + bytes(range(128))  # fmt: skip
    assert session() == hashlib.sha256(preimage).digest()


def test_both_ends_of_every_session_field_are_accepted() -> None:
    tag, chain, row = b"rialto/session/1", bytes(range(100, 132)), bytes(64)
    low = session(account=0, key_slot=0, grant_epoch=0, nonce=0, expires_ms=0, ops=row)
    assert low == hashlib.sha256(tag + chain + bytes(25) + b"\1" + row).digest()
    u32, u64 = (1 << 32) - 1, (1 << 64) - 1
    high = session(account=u32, key_slot=255, grant_epoch=u32, nonce=u64, expires_ms=u64, ops=row)
    assert high == hashlib.sha256(tag + chain + b"\xff" * 25 + b"\1" + row).digest()


def test_every_field_of_a_session_group_changes_its_digest() -> None:
    changed = [
        session(),
        session(genesis_hash=bytes(32)),
        session(account=4),
        session(key_slot=3),
        session(grant_epoch=6),
        session(nonce=10),
        session(expires_ms=1_700_000_000_001),
        session(ops=bytes(range(64))),
        session(ops=bytes(range(127)) + b"\0"),
    ]
    assert len(set(changed)) == len(changed)


@pytest.mark.parametrize(
    ("refused", "number"),
    [
        (lambda: digest(nonce=-1), typed_data.VALUE_RANGE),
        (lambda: digest(nonce=1 << 64), typed_data.VALUE_RANGE),
        (lambda: digest(expires_ms=1 << 64), typed_data.VALUE_RANGE),
        (lambda: digest(ops=(PLACE._replace(price=-1),)), typed_data.VALUE_RANGE),
        (lambda: digest(ops=(PLACE._replace(quantity=1 << 64),)), typed_data.VALUE_RANGE),
        (lambda: digest(owner=bytes(19)), typed_data.VALUE_LENGTH),
        (lambda: digest(ops=(PLACE._replace(row=bytes(63)),)), typed_data.VALUE_LENGTH),
        (lambda: digest(ops=(PLACE._replace(row=bytes(65)),)), typed_data.VALUE_LENGTH),
        (lambda: typed_data.digest(bytes(31), OWNER, 0, 0, [PLACE]), typed_data.VALUE_LENGTH),
        (lambda: digest(ops=()), typed_data.OPERATION_COUNT),
        (lambda: digest(ops=(PLACE,) * 65), typed_data.OPERATION_COUNT),
        (lambda: digest(domain=DOMAIN._replace(chain_id=0)), typed_data.CHAIN_ID),
        (lambda: digest(domain=DOMAIN._replace(chain_id=1 << 53)), typed_data.CHAIN_ID),
        (lambda: digest(domain=DOMAIN._replace(contract=bytes(21))), typed_data.VALUE_LENGTH),
        (lambda: digest(domain=DOMAIN._replace(genesis_hash=b"")), typed_data.VALUE_LENGTH),
        (lambda: session(genesis_hash=bytes(31)), typed_data.VALUE_LENGTH),
        (lambda: session(ops=bytes(65)), typed_data.VALUE_LENGTH),
        (lambda: session(ops=b""), typed_data.OPERATION_COUNT),
        (lambda: session(ops=bytes(64 * 65)), typed_data.OPERATION_COUNT),
        (lambda: session(account=1 << 32), typed_data.SESSION_FIELD),
        (lambda: session(key_slot=256), typed_data.SESSION_FIELD),
        (lambda: session(grant_epoch=1 << 32), typed_data.SESSION_FIELD),
        (lambda: session(nonce=1 << 64), typed_data.SESSION_FIELD),
        (lambda: session(expires_ms=-1), typed_data.SESSION_FIELD),
    ],
)
def test_a_group_outside_its_bounds_is_refused_by_number(
    refused: Callable[[], object], number: int
) -> None:
    assert number_of(refused) == number


def test_the_limits_are_those_of_the_protocol_page() -> None:
    assert (typed_data.TEXT_BYTES_MAX, typed_data.OPERATIONS_MAX) == (256, 64)
    assert typed_data.CHAIN_ID_MAX == 2**53 - 1
    assert len(digest(domain=DOMAIN._replace(chain_id=2**53 - 1))) == 32
    assert len(digest(ops=(PLACE._replace(terms="x" * 256),))) == 32


def test_sixty_four_operations_are_one_group_in_both_forms() -> None:
    assert len(digest(ops=(PLACE,) * 64)) == 32
    assert len(session(ops=bytes(64 * 64))) == 32


@pytest.mark.parametrize("text", ["line\nbreak", "\u202ebuy", "caf\u00e9", "\x7f", "\0", "x" * 257])
@pytest.mark.parametrize("field", ["action", "market", "side", "terms"])
def test_text_that_a_screen_could_show_as_something_else_is_refused(field: str, text: str) -> None:
    shown = Operation(**{**PLACE._asdict(), field: text})
    assert number_of(lambda: digest(ops=(shown,))) == typed_data.TEXT


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        ("uint8", 256, typed_data.VALUE_RANGE),
        ("uint8", -1, typed_data.VALUE_RANGE),
        ("int8", 128, typed_data.VALUE_RANGE),
        ("int8", -129, typed_data.VALUE_RANGE),
        ("uint8", True, typed_data.VALUE_KIND),
        ("uint8", "1", typed_data.VALUE_KIND),
        ("bool", 1, typed_data.VALUE_KIND),
        ("string", b"", typed_data.VALUE_KIND),
        ("bytes", "", typed_data.VALUE_KIND),
        ("uint8[]", 1, typed_data.VALUE_KIND),
        ("Pair", 1, typed_data.VALUE_KIND),
        ("address", bytes(32), typed_data.VALUE_LENGTH),
        ("bytes32", bytes(31), typed_data.VALUE_LENGTH),
        ("Pair", {"a": 1}, typed_data.MEMBERS),
        ("Pair", {"a": 1, "b": 2, "c": 3}, typed_data.MEMBERS),
        ("uint", 1, typed_data.UNKNOWN_TYPE),
        ("uint9", 1, typed_data.UNKNOWN_TYPE),
        ("uint264", 1, typed_data.UNKNOWN_TYPE),
        ("Single", {}, typed_data.UNKNOWN_TYPE),
    ],
)
def test_the_engine_refuses_values_that_their_type_cannot_hold(
    kind: str, value: object, number: int
) -> None:
    types: Types = {"Pair": (("uint8", "a"), ("uint8", "b"))}
    assert number_of(lambda: typed_data.encode_value(kind, value, types)) == number
