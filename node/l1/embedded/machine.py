"""py-evm at Prague, with two of its precompiles replaced.

What lives here: the virtual machine and its genesis. What must never live here: blocks, pools, RPC.

py-evm 0.12.1b1 is right but slow where we need it: point evaluation (EIP-4844) loads the trusted
setup at every call, 2.4 s, and pairing (EIP-2537) is pure Python, 1.5 s. Both are replaced, with
the same gas, by ckzg and arkworks: 1 to 3 ms. The two system contracts stand in genesis, because
py-evm never installs them.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import ckzg
from eth.abc import ComputationAPI, DatabaseAPI
from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.exceptions import CanonicalHeadNotFound, VMError
from eth.vm.forks.cancun import constants as cancun
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague import constants as prague
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES, PragueComputation
from eth.vm.forks.prague.state import PragueState
from py_arkworks_bls12381 import GT, G1Point, G2Point

from consensus.rollup.batch import BLS_MODULUS, VERSIONED_HASH_KZG
from node.l1 import trusted_setup

BASE_FEE_AT_GENESIS: Final = 10**9
POINT_EVALUATION: Final = 0x0A
POINT_EVALUATION_GAS: Final = 50_000
POINT_EVALUATION_BYTES: Final = 192
BLS_PAIRING: Final = 0x0F
BLS_PAIRING_GAS: Final = 37_700
BLS_PAIR_GAS: Final = 32_600
FP_BYTES: Final = 64
PAIR_BYTES: Final = 6 * FP_BYTES


def point_evaluation(computation: ComputationAPI) -> ComputationAPI:
    """EIP-4844: input `hash | z | y | commitment | proof`."""
    computation.consume_gas(POINT_EVALUATION_GAS, reason="point evaluation")
    data = bytes(computation.msg.data_as_bytes)
    hashed = bytes([VERSIONED_HASH_KZG]) + sha256(data[96:144]).digest()[1:]
    if len(data) != POINT_EVALUATION_BYTES or data[:32] != hashed:
        raise VMError("point evaluation: input")
    try:
        setup = trusted_setup.load()
        holds = ckzg.verify_kzg_proof(data[96:144], data[32:64], data[64:96], data[144:], setup)
    except RuntimeError:
        holds = False
    if not holds:
        raise VMError("point evaluation: proof")
    computation.output = (4096).to_bytes(32, "big") + BLS_MODULUS.to_bytes(32, "big")
    return computation


def bls_pairing(computation: ComputationAPI) -> ComputationAPI:
    """EIP-2537, pairing check: pairs of a G1 point (128 bytes) and a G2 point (256 bytes)."""
    data = bytes(computation.msg.data_as_bytes)
    if not data or len(data) % PAIR_BYTES:
        raise VMError("pairing: length")
    pairs = [data[at : at + PAIR_BYTES] for at in range(0, len(data), PAIR_BYTES)]
    computation.consume_gas(BLS_PAIR_GAS * len(pairs) + BLS_PAIRING_GAS, reason="pairing")
    left = [_point(G1Point, pair[: 2 * FP_BYTES]) for pair in pairs]
    right = [_point(G2Point, pair[2 * FP_BYTES :]) for pair in pairs]
    computation.output = int(GT.pairing_check(left, right)).to_bytes(32, "big")
    return computation


def _point(kind: Any, data: bytes) -> Any:
    parts = [data[at : at + FP_BYTES] for at in range(0, len(data), FP_BYTES)]
    if any(any(part[:16]) for part in parts):
        raise VMError("pairing: field element")
    coordinates = b"".join(part[16:] for part in parts)
    if not any(coordinates):
        return kind.identity()
    try:
        return kind.from_xy_bytes_be(coordinates)
    except ValueError as error:
        raise VMError(f"pairing: {error}") from error


def _address(number: int) -> bytes:
    return number.to_bytes(20, "big")


Precompile = Callable[[ComputationAPI], ComputationAPI]


class _Computation(PragueComputation):
    _precompiles: Mapping[Any, Precompile] = {
        **PRAGUE_PRECOMPILES,
        _address(POINT_EVALUATION): point_evaluation,
        _address(BLS_PAIRING): bls_pairing,
    }


class _State(PragueState):
    computation_class = _Computation


class Machine(PragueVM):
    """Prague without proof of work or stake: blocks are valid as they are made."""

    _state_class = _State
    consensus_class = NoProofConsensus


def open_chain(
    chain_id: int,
    balances: Mapping[bytes, int],
    time: int,
    gas_limit: int,
    database: DatabaseAPI | None = None,
) -> MiningChain:
    """The chain that `database` holds; else one of one block: `balances` in wei, by address;
    `time` in seconds. In memory without a database."""
    kind: Any = type(
        "Chain",
        (MiningChain,),
        {
            "chain_id": chain_id,
            "vm_configuration": ((0, Machine),),
            "consensus_context_class": NoProofConsensus,
        },
    )
    accounts = {
        address: {"balance": wei, "nonce": 0, "code": b"", "storage": {}}
        for address, wei in balances.items()
    }
    for address, code in (
        (prague.HISTORY_STORAGE_ADDRESS, prague.HISTORY_STORAGE_CONTRACT_CODE),
        (cancun.BEACON_ROOTS_ADDRESS, cancun.BEACON_ROOTS_CONTRACT_CODE),
    ):
        accounts[address] = {"balance": 0, "nonce": 1, "code": code, "storage": {}}
    header = {
        "difficulty": 0,
        "nonce": bytes(8),
        "gas_limit": gas_limit,
        "timestamp": time,
        "base_fee_per_gas": BASE_FEE_AT_GENESIS,
    }
    store = AtomicDB(database)
    try:
        kept: MiningChain = kind(store)
    except CanonicalHeadNotFound:
        kept = kind.from_genesis(store, header, accounts)
    return kept
