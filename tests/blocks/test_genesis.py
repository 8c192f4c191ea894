"""Genesis files: those delivered pass, and every bad value is answered by the name of its field."""

import copy
import json
import struct
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from consensus import genesis as law
from consensus import genesis_fields as forms
from consensus import layout
from consensus.exceptions import InvalidGenesis
from consensus.forks import FORK_ORDER, FORK_RULES, UNKNOWN_FORK
from node import cli

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "genesis.json").read_text())
FILES = sorted((ROOT / "genesis").glob("*.json"))
MINIMAL = json.loads((ROOT / "genesis" / "minimal.json").read_text())
MNEMONIC = "test test test test test test test test test test test junk"
KEY = "0x8" + "1" * 95
PROOF = "0x" + "11" * 96


def faults_of(value: object) -> list[InvalidGenesis]:
    with pytest.raises(InvalidGenesis) as caught:
        law.parse(json.dumps(value).encode())
    faults = caught.value.facts["faults"]
    assert isinstance(faults, tuple)
    return list(faults)


def changed(path: str, value: object) -> Any:
    """MINIMAL with one value replaced; a path is names and indexes with dots."""
    file = copy.deepcopy(MINIMAL)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at: Any = file
    for step in way:
        at = at[step]
    at[last] = value
    return file


def validators(*keys: str) -> Any:
    """MINIMAL with validators of these keys."""
    return changed("validators", [{"key": key, "proof": PROOF} for key in keys])


def bracketed(path: str) -> str:
    return "".join(
        f"[{step}]" if step.isdigit() else f".{step}" for step in path.split(".")
    ).lstrip(".")


def leaves(value: object, path: str = "") -> list[str]:
    """The path of everything in the file that is not inside an object's or list's member."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [(str(i), item) for i, item in enumerate(value)]
    else:
        return [path]
    inner = [leaf for key, item in pairs for leaf in leaves(item, f"{path}.{key}".lstrip("."))]
    return [path, *inner] if path else inner


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_delivered_file_passes_with_its_pinned_hash_and_fork_id(path: Path) -> None:
    genesis = law.parse(path.read_bytes())
    found = {
        "file": path.name,
        "hash": genesis.hash.hex(),
        "fork_id": genesis.forks.fork_id(genesis.hash).hex(),
    }
    assert found in VECTORS["files"]
    assert genesis.name == path.stem


def test_the_delivered_files_are_the_pinned_ones() -> None:
    assert [path.name for path in FILES] == [entry["file"] for entry in VECTORS["files"]]


def test_the_hash_is_of_the_values_and_not_of_the_spacing_or_order() -> None:
    text = json.dumps(dict(reversed(MINIMAL.items())), indent=7).encode()
    canonical = json.dumps(MINIMAL, sort_keys=True, separators=(",", ":")).encode()
    assert law.parse(text).hash == sha256(b"rialto/genesis/1" + canonical).digest()
    assert law.parse(text).hash == law.parse(canonical).hash
    other = json.dumps(changed("deposits.0.amount", 1)).encode()
    assert law.parse(other).hash != law.parse(canonical).hash


@pytest.mark.parametrize("path", leaves(MINIMAL), ids=bracketed)
def test_a_value_of_another_kind_is_answered_by_its_field(path: str) -> None:
    values: list[Any] = [None, 1.5, [[]], {"x": 1}, -(1 << 70)]
    for bad in values:
        faults = faults_of(changed(path, bad))
        assert bracketed(path) in " ".join(fault.text for fault in faults)
        assert any(str(fault.facts["path"]).startswith(bracketed(path)) for fault in faults)


@pytest.mark.parametrize("path", leaves(MINIMAL), ids=bracketed)
def test_a_missing_member_is_answered_by_its_field(path: str) -> None:
    *way, last = path.split(".")
    if last.isdigit():
        return
    file = copy.deepcopy(MINIMAL)
    at: Any = file
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    del at[last]
    fault = faults_of(file)[0]
    assert (fault.number, fault.facts["path"]) == (forms.MISSING, bracketed(path))


BOUNDS = [
    ("chain_id", 1, 2**53 - 1),
    ("time", 1, 2**53 - 1),
    ("block_interval_ms", 10, 60_000),
    *[(f"parameters.{name}", low, high) for name, low, high in law.PARAMETERS],
    ("assets.0.decimals", 0, 18),
    ("assets.0.withdraw_minimum", 0, layout.AMOUNT_MAX),
    ("markets.0.price_bits", 6, 28),
    ("markets.0.pool_bits", 6, 20),
    ("markets.0.page_bits", 6, 16),
    ("markets.0.base_per_lot", 1, 2**61 // 10**6),
    ("markets.0.quote_per_tick_lot", 1, 2**61 // 10**6 // 4094),
    ("markets.0.lots_max", 1, 2**61 // 4094),
    ("markets.0.minimum_notional", 0, 2**61),
    ("markets.0.band_ppm", 0, 10**6),
    ("markets.0.orders_per_trader", 1, 2**20 - 1),
    ("markets.0.reference_price", 0, 4094),
    ("markets.0.fees.1.taker_ppm", 0, 100_000),
    ("markets.0.fees.1.maker_ppm", -400, 100_000),
    ("deposits.0.amount", 1, layout.AMOUNT_MAX - 10**9),
]


BLAMED = ("markets[0].lots_max", "deposits[2].amount")
"""Where a sum or product of fields goes over its bound."""


def number(value: int) -> int | str:
    return value if value < 2**53 else str(value)


@pytest.mark.parametrize(("path", "low", "high"), BOUNDS)
def test_the_bounds_of_an_integer_are_exact(path: str, low: int, high: int) -> None:
    for good in (low, high):
        law.parse(json.dumps(changed(path, number(good))).encode())
    for bad in (low - 1, high + 1):
        faults = faults_of(changed(path, number(bad)))
        assert faults[0].number in (forms.RANGE, law.PRODUCT, law.SUPPLY, forms.KIND)
        assert faults[0].facts["path"] in (bracketed(path), *BLAMED)


def test_a_product_of_exactly_two_to_the_61_is_allowed() -> None:
    file = changed("markets.0.base_per_lot", 2**31)
    file["markets"][0]["lots_max"] = 2**30
    law.parse(json.dumps(file).encode())
    file["markets"][0]["lots_max"] = 2**30 + 1
    assert [fault.number for fault in faults_of(file)] == [law.PRODUCT]


def test_price_bits_bound_the_reference_price() -> None:
    file = changed("markets.0.reference_price", 4095)
    assert faults_of(file)[0].facts["path"] == "markets[0].reference_price"


@pytest.mark.parametrize(("name", "low", "high"), law.SIZES)
def test_sizes_are_powers_of_two_within_their_bounds(name: str, low: int, high: int) -> None:
    for good in (low, high):
        law.parse(json.dumps(changed(f"sizes.{name}", good)).encode())
    for bad in (low - 1, low + 1, low // 2, high * 2):
        faults = faults_of(changed(f"sizes.{name}", bad))
        assert [fault.facts["path"] for fault in faults] == [f"sizes.{name}"]


def twice(part: str, **change: object) -> object:
    return changed(part, [*MINIMAL[part], MINIMAL[part][0] | change])


ZERO = "0x" + "00" * 20
CANAL = MINIMAL["forks"][0]
RULES: list[tuple[str, object, int, str]] = [
    ("an unknown member", changed("colour", 1), forms.UNKNOWN_MEMBER, "colour"),
    ("an unknown size", changed("sizes.colour", 1), forms.UNKNOWN_MEMBER, "sizes.colour"),
    ("a name with capitals", changed("name", "Rialto"), forms.FORM, "name"),
    ("a mixed-case address", changed("contract", "0xAb" + ZERO[4:]), forms.FORM, "contract"),
    ("a short address", changed("governor", "0x12"), forms.FORM, "governor"),
    ("a zero governor", changed("governor", ZERO), forms.FORM, "governor"),
    ("a zero fee account", changed("fee_account", ZERO), forms.FORM, "fee_account"),
    ("a zero owner", changed("deposits.0.owner", ZERO), forms.FORM, "deposits[0].owner"),
    ("another settlement", changed("settlement", "trust"), forms.FORM, "settlement"),
    ("true for one", changed("chain_id", True), forms.KIND, "chain_id"),
    ("a small string", changed("deposits.0.amount", "7"), forms.KIND, "deposits[0].amount"),
    (
        "a string that is a number",
        changed("deposits.0.amount", str(2**53 - 1)),
        forms.FORM,
        "deposits[0].amount",
    ),
    (
        "a number above 2^53 - 1",
        changed("deposits.0.amount", 2**53),
        forms.FORM,
        "deposits[0].amount",
    ),
    (
        "the largest amount as a number",
        changed("deposits.0.amount", layout.AMOUNT_MAX),
        forms.FORM,
        "deposits[0].amount",
    ),
    ("a lower-case symbol", changed("assets.0.symbol", "usd"), forms.FORM, "assets[0].symbol"),
    ("a long symbol", changed("assets.0.symbol", "A" * 8), forms.FORM, "assets[0].symbol"),
    ("a symbol twice", twice("assets"), law.DUPLICATE, "assets[2].symbol"),
    ("a market twice", twice("markets"), law.DUPLICATE, "markets[1].quote"),
    ("base = quote", changed("markets.0.quote", "BTC"), law.DUPLICATE, "markets[0].quote"),
    ("no such base", changed("markets.0.base", "EUR"), law.UNKNOWN_SYMBOL, "markets[0].base"),
    ("no such asset", changed("deposits.0.asset", "EUR"), law.UNKNOWN_SYMBOL, "deposits[0].asset"),
    ("three tiers", changed("markets.0.fees", []), forms.COUNT, "markets[0].fees"),
    ("no fork", changed("forks", []), forms.COUNT, "forks"),
    ("a fork of the future", changed("forks.0.name", "tide"), UNKNOWN_FORK, "forks"),
    ("a late first fork", changed("forks.0.height", 1), FORK_ORDER, "forks"),
    ("a fork of other rules", changed("forks.0.layout", 2), FORK_RULES, "forks"),
    ("a fork twice", changed("forks", [CANAL, CANAL]), FORK_ORDER, "forks"),
    ("drift without L1", changed("drift_max_ms", 1), law.DRIFT, "drift_max_ms"),
    ("a validator twice", validators(KEY, KEY), law.DUPLICATE, "validators[1].key"),
    ("an infinite key", validators("0xc" + "0" * 95), forms.FORM, "validators[0].key"),
    ("an uncompressed key", validators("0x1" + "1" * 95), forms.FORM, "validators[0].key"),
    ("a key above p", validators("0x9" + "f" * 95), forms.FORM, "validators[0].key"),
    ("a short key", validators(KEY[:-2]), forms.FORM, "validators[0].key"),
    (
        "a short proof",
        changed("validators", [{"key": KEY, "proof": PROOF[:-2]}]),
        forms.FORM,
        "validators[0].proof",
    ),
    (
        "more assets than fit",
        changed("assets", [{**MINIMAL["assets"][0], "symbol": s} for s in ("USD", "BTC", *"CDE")]),
        law.CAPACITY,
        "assets",
    ),
    (
        "more owners than fit",
        changed(
            "deposits",
            [{**MINIMAL["deposits"][0], "owner": f"0x{i:040x}"} for i in range(1, 64)],
        ),
        law.CAPACITY,
        "deposits",
    ),
    (
        "more atoms than a balance holds",
        twice("deposits", amount=str(layout.AMOUNT_MAX)),
        law.SUPPLY,
        "deposits[4].amount",
    ),
]


@pytest.mark.parametrize(
    ("file", "number", "path"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES]
)
def test_a_broken_rule_is_answered_by_its_number_and_field(
    file: object, number: int, path: str
) -> None:
    fault = faults_of(file)[0]
    assert (fault.number, fault.facts["path"]) == (number, path)
    assert f"genesis field {path}: " in fault.text


def test_all_faults_are_collected() -> None:
    file = changed("chain_id", 0) | {"name": "", "governor": 7}
    file["markets"][0]["price_bits"] = 5
    assert sorted(str(fault.facts["path"]) for fault in faults_of(file)) == [
        "chain_id",
        "governor",
        "markets[0].price_bits",
        "name",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":1,"a":1}',
        b"[" * 100_000,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
    ],
    ids=[
        "empty",
        "cut",
        "not UTF-8",
        "a member twice",
        "deep",
        "17 deep",
        "long digits",
        "byte order mark",
    ],
)
def test_what_is_no_json_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(InvalidGenesis) as caught:
        law.parse(data)
    assert caught.value.number == forms.NOT_JSON


def test_sixteen_levels_are_read_and_brackets_inside_texts_are_none() -> None:
    assert forms.decode(b"[" * 16 + b"]" * 16, limit_bytes=99) is not None
    assert forms.decode(b'["' + b"[" * 40 + b'\\"{"]', limit_bytes=99) == ["[" * 40 + '"{']
    wide = b"[" + b"[]," * 40 + b"[]]"
    assert forms.decode(wide, limit_bytes=999) == [[]] * 41


def test_accounts_that_fit_exactly_are_allowed() -> None:
    owners = [f"0x{i:040x}" for i in range(1, 63)]  # with the fee account and the sentinel 64
    deposits = [{**MINIMAL["deposits"][0], "owner": owner} for owner in owners]
    assert law.parse(json.dumps(changed("deposits", deposits)).encode())


def test_a_file_above_its_limit_is_refused_before_it_is_read() -> None:
    text = json.dumps(MINIMAL).encode()
    law.parse(text.ljust(law.GENESIS_BYTES_MAX))
    with pytest.raises(InvalidGenesis) as caught:
        law.parse(text.ljust(law.GENESIS_BYTES_MAX + 1))
    assert caught.value.number == forms.NOT_JSON


@pytest.mark.parametrize("value", [[], 7, "x", None, 1.5])
def test_a_file_that_is_no_object_is_refused_once(value: object) -> None:
    assert [fault.number for fault in faults_of(value)] == [forms.KIND]


def test_a_memory_with_more_leaves_than_can_be_numbered_is_refused() -> None:
    """4032 markets of 60 million words: 2.4e11 words, and 2^37 can be numbered."""
    symbols = [f"A{i}" for i in range(64)]
    pairs = [(a, b) for a in symbols for b in symbols if a != b]
    big = {**MINIMAL["markets"][0], "price_bits": 28, "page_bits": 16, "pool_bits": 20}
    markets = [{**big, "base": base, "quote": quote} for base, quote in pairs]
    file = {
        **MINIMAL,
        "sizes": {"assets_max": 64, "markets_max": 4096, "accounts_max": 2**20, "table_slots": 32},
        "assets": [{**MINIMAL["assets"][0], "symbol": symbol} for symbol in symbols],
        "markets": markets,
        "deposits": [],
    }
    fault = faults_of(file)[0]
    assert (fault.number, fault.facts["path"]) == (law.CAPACITY, "sizes")
    assert law.parse(json.dumps({**file, "markets": markets[:2000]}).encode())


def test_rows_are_those_of_the_vector_and_of_the_command_tables() -> None:
    genesis = law.parse(json.dumps(MINIMAL).encode())
    rows = [row.hex() for row in law.rows(genesis)]
    assert rows == VECTORS["minimal_rows"]
    words = [struct.unpack("<8q", bytes.fromhex(row)) for row in rows]
    assert [word[0] & 255 for word in words] == [32] * 2 + [33] + [34] * 4 + [35] + [16] * 4
    assert words[0] == (32, int.from_bytes(b"USD\0\0\0\0", "big"), 2, 1, 0, 0, 0, 0)
    assert words[2] == (33, 1 | 12 << 16 | 6 << 24 | 6 << 32, 10, 1, 10, 10**6, 16 << 20, 0)
    assert words[5] == (34, 2, 300, -50, 0, 0, 0, 0)
    owner = bytes.fromhex(MINIMAL["deposits"][0]["owner"][2:])
    parts = [int.from_bytes(owner[a:b], "big") for a, b in ((0, 7), (7, 14), (14, 20))]
    assert words[8] == (16, *parts, 0, 10**9, 0, 0)


def test_the_rows_of_later_markets_name_them_and_closed_markets_stay_halted() -> None:
    file = changed("markets", [MINIMAL["markets"][0], {**MINIMAL["markets"][0], "open": False}])
    file["markets"][1] |= {"base": "USD", "quote": "BTC"}
    rows = [struct.unpack("<8q", row) for row in law.rows(law.parse(json.dumps(file).encode()))]
    fees = [word[0] >> 32 for word in rows if word[0] & 255 == 34]
    assert fees == [0] * 4 + [1] * 4
    assert [word[0] >> 32 for word in rows if word[0] & 255 == 35] == [0]


def test_region_sizes_are_the_sums_of_the_layout_page() -> None:
    genesis = law.parse(json.dumps(MINIMAL).encode())
    ledger = 8448 + 4 * 16 + 4 * 16 + 64 * 32 + 64 * 4 * 16 + 64 * 4 * 8 + 64 * 32
    market = 128 + 2 * 96 + 2 * 64 + 32 + 32 + 64 * 256 + 64 * 16 + 64 * 8
    assert law.memory_words(genesis) == [("ledger", ledger), ("BTC-USD", market)]
    mainnet = law.parse((ROOT / "genesis" / "mainnet.json").read_bytes())
    bitmap = 2**20 + 64**3 + 64**2 + 64 + 1  # four levels above 2^20 words: depth 5
    bitmap = (bitmap - (64**3) + 64**3 + 31) // 32 * 32
    slots, pages = (2**12 + 65 + 31) // 32 * 32, (2**8 + 65 + 31) // 32 * 32
    words = 128 + 2 * bitmap + 2 * 2**20 + pages + slots + 2**14 * 256 + 2**18 * 16 + 65536 * 8
    assert law.memory_words(mainnet)[1] == ("BTC-USD", words)


def test_the_parameters_stand_in_the_order_of_their_ids() -> None:
    ids = [getattr(layout, name.upper()) - layout.PARAMETERS for name, _, _ in law.PARAMETERS]
    assert ids == list(range(layout.PARAMETER_COUNT))
    assert list(MINIMAL["sizes"]) == [field.name for field in fields(law.Sizes)]


def test_the_validators_hash_is_over_the_keys_in_order() -> None:
    other = KEY[:-1] + "2"
    for keys in ([], [KEY], [KEY, other], [other, KEY]):
        genesis = law.parse(json.dumps(validators(*keys)).encode())
        joined = b"".join(bytes.fromhex(key[2:]) for key in keys)
        assert genesis.validators_hash == sha256(joined).digest()


def test_the_addresses_of_devnet_are_those_of_the_public_test_mnemonic() -> None:
    Account.enable_unaudited_hdwallet_features()
    known = [
        Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{i}").address.lower()
        for i in range(10)
    ]
    for name in ("devnet", "minimal", "replay"):
        file = json.loads((ROOT / "genesis" / f"{name}.json").read_text())
        assert (file["governor"], file["fee_account"]) == (known[9], known[8])
        assert {deposit["owner"] for deposit in file["deposits"]} <= set(known[:6])
    mainnet = json.loads((ROOT / "genesis" / "mainnet.json").read_text())
    assert not {mainnet["governor"], mainnet["fee_account"]} & set(known)


Capture = pytest.CaptureFixture[str]


def test_the_check_command_prints_hash_and_sizes_of_every_file(capsys: Capture) -> None:
    paths = [str(path) for path in FILES]
    assert cli.main(["genesis", "check", *paths, "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["files"]
    assert [report["hash"] for report in reports] == [file["hash"] for file in VECTORS["files"]]
    assert all(report["memory_bytes"] == sum(report["region_bytes"].values()) for report in reports)
    assert cli.main(["genesis", "check", *paths]) == 0
    out = capsys.readouterr().out
    assert all(file["hash"] in out for file in VECTORS["files"])
    assert "region BTC-USD   0.15 MB" in out


def test_the_check_command_prints_every_fault_and_answers_no(
    tmp_path: Path, capsys: Capture
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(changed("markets.0.price_bits", 5) | {"chain_id": 0}))
    assert cli.main(["genesis", "check", str(FILES[0]), str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rule = "must be an integer of 6 to 28, is 5"
    assert f"E6005 genesis field markets[0].price_bits: {rule}" in lines
    assert any(line.startswith("E6005 genesis field chain_id: ") for line in lines)
    assert cli.main(["genesis", "check", str(bad), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)["files"][0]
    assert [fault["field"] for fault in report["faults"]] == ["chain_id", "markets[0].price_bits"]
    assert "hash" not in report


def test_the_check_command_says_what_is_no_json(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.json").write_text("{")
    assert cli.main(["genesis", "check", str(tmp_path / "x.json")]) == 1
    assert "E6001 not a JSON file" in capsys.readouterr().out
