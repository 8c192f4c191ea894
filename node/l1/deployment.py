"""A deployment: which contract on which L1 settles a chain, and with which settings.

What lives here: the file that nodes and wallets are given, where a contract will be before it is
made, and whether the one that stands there is the chain's own. What must never live here: sending.

Theory. The genesis file names the contract and the contract is made with the genesis hash, so one
of the two must be known before it exists: the address, which follows from its deployer and that
account's nonce. What stands there afterwards could be anything, so nobody believes the file: the
contract's first summary must be the chain's block 0, and its code must be the artefact's, with the
settings that the file claims.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from eth_abi import encode

from consensus import codec
from consensus.block import HASH_ZERO, Header, block_hash
from consensus.exceptions import InvalidGenesis
from consensus.genesis import SETTLEMENTS, Genesis, opened_leaves
from consensus.genesis_fields import NUMBER_MAX, Field, decode
from consensus.keccak import keccak256
from consensus.rollup.batch import ADDRESS_BYTES
from node.exceptions import NodeError
from node.l1.contract import Settings, Summary, artefact, call, read_event, topic
from node.l1.surface import L1, as_hex, from_hex

DEPLOYMENT_FILE: Final = 7790
DEPLOYMENT_OTHER: Final = 7791
UNBACKED: Final = "the genesis file has deposits; a chain with a bridge begins empty"

DEPLOYMENT_BYTES_MAX: Final = 1 << 16
MEMBERS_MAX: Final = 64
LISTED_MAX: Final = 16
"""Assets that the constructor takes; the governor lists more."""
SCALE_MAX: Final = 10**18
WEI_MAX: Final = (1 << 63) - 1
WORD_BYTES: Final = 32
TIMES: Final = ("window_s", "deadline_s", "freeze_after_s", "delay_s", "bond")
"""Settings that whoever deploys chooses; the others follow from the genesis file."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """`block_number`: of the L1 block that made the contract. `assets`: (token or zero, scale)."""

    chain_id: int
    contract: bytes
    block_number: int
    settings: Settings
    members: tuple[bytes, ...]
    guardian: bytes
    governor: bytes
    assets: tuple[tuple[bytes, int], ...]


def contract_address(deployer: bytes, nonce: int) -> bytes:
    """Where the contract will be that `deployer` makes with this nonce (yellow paper, 7)."""
    return keccak256(codec.encode([deployer, nonce]))[12:]


# The file


def encode_deployment(deployment: Deployment) -> bytes:
    """The file's bytes, which `decode_deployment` reads."""
    settings: dict[str, object] = asdict(deployment.settings)
    settings["mode"] = SETTLEMENTS[deployment.settings.mode - 1]
    settings["bond"] = _number(deployment.settings.bond)
    value = {
        "chain_id": deployment.chain_id,
        "contract": as_hex(deployment.contract),
        "block_number": deployment.block_number,
        "settings": settings,
        "members": [as_hex(one) for one in deployment.members],
        "guardian": as_hex(deployment.guardian),
        "governor": as_hex(deployment.governor),
        "assets": [
            {"token": as_hex(token), "scale": _number(scale)} for token, scale in deployment.assets
        ],
    }
    return json.dumps(value, indent=1).encode() + b"\n"


def read_deployment(path: Path) -> Deployment:
    """The deployment in the file. Raises `NodeError` `DEPLOYMENT_FILE`."""
    return decode_deployment(path.read_bytes(), str(path))


def decode_deployment(data: bytes, name: str = "the deployment") -> Deployment:
    """What the file's bytes say; `name` stands in errors. Raises `NodeError` `DEPLOYMENT_FILE`."""
    faults: list[InvalidGenesis] = []
    try:
        top = Field(decode(data, limit_bytes=DEPLOYMENT_BYTES_MAX), "", faults)
    except InvalidGenesis as error:
        raise _unreadable(name, [error]) from error
    deployment = _read(top)
    if faults:
        raise _unreadable(name, faults)
    return deployment


def _read(file: Field) -> Deployment:
    top = file.members(
        "chain_id", "contract", "block_number", "settings", "members", "guardian", "governor",
        "assets",
    )  # fmt: skip
    return Deployment(
        chain_id=top["chain_id"].integer(1, NUMBER_MAX),
        contract=top["contract"].data(ADDRESS_BYTES, "an address"),
        block_number=top["block_number"].integer(0, NUMBER_MAX),
        settings=_settings(top["settings"]),
        members=tuple(_addresses(top["members"])),
        guardian=top["guardian"].data(ADDRESS_BYTES, "an address"),
        governor=top["governor"].data(ADDRESS_BYTES, "an address"),
        assets=tuple(_asset(item) for item in top["assets"].items(0, LISTED_MAX)),
    )


def _settings(field: Field) -> Settings:
    numbers = [name for name in Settings.__slots__ if name not in ("mode", "bond")]
    part = field.members("mode", "bond", *numbers)
    mode = part["mode"].choice(*SETTLEMENTS)
    return Settings(
        mode=SETTLEMENTS.index(mode) + 1 if mode else 0,
        bond=part["bond"].integer(0, WEI_MAX),
        **{name: part[name].integer(0, NUMBER_MAX) for name in numbers},
    )


def _addresses(field: Field) -> Iterator[bytes]:
    for item in field.items(1, MEMBERS_MAX):
        yield item.data(ADDRESS_BYTES, "an address")


def _asset(field: Field) -> tuple[bytes, int]:
    part = field.members("token", "scale")
    return part["token"].data(ADDRESS_BYTES, "an address"), part["scale"].integer(1, SCALE_MAX)


def _number(value: int) -> int | str:
    return value if value <= NUMBER_MAX else str(value)


def _unreadable(name: str, faults: list[InvalidGenesis]) -> NodeError:
    said = "; ".join(one.text.removeprefix("genesis ") for one in faults)
    return NodeError(DEPLOYMENT_FILE, f"{name} is no deployment file: {said}", faults=tuple(faults))


# The chain's own


def settings_of(genesis: Genesis, **times: int) -> Settings:
    """The contract's settings for a chain: its mode and layout from genesis.

    `times`: `window_s`, `deadline_s`, `freeze_after_s`, `delay_s`, and `bond` in wei.
    """
    leaves = opened_leaves(genesis.sizes)
    return Settings(
        mode=SETTLEMENTS.index(genesis.settlement) + 1,
        **times,
        accounts_leaf=leaves[0],
        balances_leaf=leaves[1],
        accounts_max=genesis.sizes.accounts_max,
        assets_max=genesis.sizes.assets_max,
    )


def genesis_summary(genesis: Genesis, block: Header, time: int = 0) -> Summary:
    """Summary 0: block 0, and the L1 time of the deployment (the constructor fills it in)."""
    return Summary(genesis.hash, time, block_hash(block), 0, block.state_root, 0, HASH_ZERO)


def runtime_code(settings: Settings, verifier: bytes = bytes(ADDRESS_BYTES)) -> bytes:
    """The code of a deployed contract: the artefact's, and the immutables as Vyper appends them."""
    made = bytes.fromhex(artefact()["bytecode"][2:])
    trailer = int.from_bytes(made[-2:], "big")  # Vyper's metadata behind the code, and its length
    end = len(made) - trailer
    fixed = list(asdict(settings).values())
    fixed.insert(6, int.from_bytes(verifier, "big"))
    return made[end - artefact()["runtime_bytes"] : end] + encode(["uint256"] * len(fixed), fixed)


def has_unbacked_deposits(genesis: Genesis) -> bool:
    """Whether nothing on L1 stands behind the genesis file's deposits."""
    return any(genesis.contract) and bool(genesis.deposits)


async def check_deployment(
    l1: L1, deployment: Deployment, genesis: Genesis, block: Header | None = None
) -> Summary:
    """Summary 0 of the contract, once it is known that it is made for this chain.

    `block` 0 is compared too where it is at hand; the first batch could not continue another one.
    Raises `NodeError` `DEPLOYMENT_OTHER`, or what `l1.request` raises.
    """
    for fault in _differences(deployment, genesis):
        raise _other(deployment, fault)
    if int(await l1.request("eth_chainId"), 16) != deployment.chain_id:
        raise _other(deployment, f"the L1 has another chain id than {deployment.chain_id}")
    where = as_hex(deployment.contract)
    code = from_hex(await l1.request("eth_getCode", where, "latest"))
    if code != runtime_code(deployment.settings):
        text = "no contract there" if not code else "another code there, or other settings in it"
        raise _other(deployment, text)
    place = hex(deployment.block_number)
    query = {
        "address": where, "fromBlock": place, "toBlock": place,
        "topics": [as_hex(topic("Committed")), as_hex(bytes(WORD_BYTES))],
    }  # fmt: skip
    logs = await l1.request("eth_getLogs", query)
    if len(logs) != 1:
        raise _other(deployment, f"block {deployment.block_number} did not make it")
    summary = Summary(*read_event("Committed", logs[0])["summary"])
    asked = {"to": where, "data": as_hex(call("summaries", 0))}
    if from_hex(await l1.request("eth_call", asked, "latest")) != summary.hash:
        raise _other(deployment, "its first summary is not the one that its making told")
    if summary.batch_hash != genesis.hash:
        raise _other(deployment, f"it settles the chain of genesis {as_hex(summary.batch_hash)}")
    if block is not None and summary != genesis_summary(genesis, block, summary.time):
        raise _other(deployment, "it begins with another block 0 than this genesis makes")
    return summary


def _differences(deployment: Deployment, genesis: Genesis) -> Iterator[str]:
    if deployment.contract != genesis.contract:
        yield f"the genesis file names the contract {as_hex(genesis.contract)}"
    if deployment.chain_id != genesis.chain_id:
        yield f"the genesis file names the L1 of chain id {genesis.chain_id}"
    fixed = deployment.settings
    if fixed != settings_of(genesis, **{name: getattr(fixed, name) for name in TIMES}):
        yield "its mode, sizes or layout are not those of the genesis file"
    if has_unbacked_deposits(genesis):
        yield UNBACKED


def _other(deployment: Deployment, why: str) -> NodeError:
    text = f"{as_hex(deployment.contract)} is not the contract of this chain: {why}"
    return NodeError(DEPLOYMENT_OTHER, f"{text}; check the deployment file and the L1's URL")
