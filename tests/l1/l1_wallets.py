"""Funded keys and a driver of the embedded L1: sign, send, mine, read the receipt or the reason."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from signed_chain import address
from signed_chain import private_key as secret_of

from consensus.da import kzg
from consensus.da.blobs import pack
from node.l1 import trusted_setup
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.surface import L1Error
from node.l1.transactions import Call, Fees, Sidecar, sign_call

__all__ = ["address", "secret_of"]

ETHER = 10**18
FEES = Fees(tip=10**9, max_fee=10**11, max_blob_fee=10**11)
START = 1_700_000_000


@cache
def sidecar_of(data: bytes, version: int = 1) -> Sidecar:
    setup = trusted_setup.load()
    blobs = pack(data)
    if version == 0:
        commitments = tuple(kzg.commit(blob, setup) for blob in blobs)
        rows = zip(blobs, commitments, strict=True)
        return Sidecar(0, blobs, commitments, tuple(kzg.blob_proof(*row, setup) for row in rows))
    done = [kzg.extend(blob, setup) for blob in blobs]
    proofs = tuple(proof for one in done for proof in one.proofs)
    return Sidecar(1, blobs, tuple(one.commitment for one in done), proofs)


def new_l1(*names: str, **settings: Any) -> EmbeddedL1:
    """An embedded L1 with 10^6 ether for each name, epochs of 4 blocks and a clock that stands."""
    balances = {address(name): 10**6 * ETHER for name in ("operator", *names)}
    return EmbeddedL1(balances, clock=lambda: START, **{"epoch_blocks": 4, **settings})


@dataclass
class Wallets:
    """Signs for names. `last` is the receipt of the last transaction that got into a block."""

    l1: EmbeddedL1
    last: dict[str, Any] = field(default_factory=dict)

    def nonce(self, name: str) -> int:
        return int(self.l1.answer("eth_getTransactionCount", hexed(address(name)), "pending"), 16)

    def balance(self, name: str) -> int:
        return int(self.l1.answer("eth_getBalance", hexed(address(name)), "latest"), 16)

    def send(
        self,
        name: str,
        to: bytes,
        data: bytes = b"",
        value: int = 0,
        *,
        sidecar: Sidecar | None = None,
        gas: int = 3_000_000,
        fees: Fees = FEES,
        nonce: int | None = None,
    ) -> str:
        """The hash of the sent transaction."""
        number = self.nonce(name) if nonce is None else nonce
        call = Call(to, data, value, gas)
        chain_id = self.l1.chain.chain_id
        signed = sign_call(secret_of(name), chain_id, number, call, fees, sidecar)
        answer: str = self.l1.answer("eth_sendRawTransaction", hexed(signed.raw))
        assert answer == hexed(signed.hash)
        return answer

    def receipt(self, transaction_hash: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.l1.answer("eth_getTransactionReceipt", transaction_hash)
        return found

    def call(self, to: bytes, data: bytes, name: str = "operator", **more: Any) -> bytes:
        """The result of a call that leaves no trace; `L1Error` with the reason if it reverts."""
        call = {"from": hexed(address(name)), "to": hexed(to), "data": hexed(data), **more}
        return bytes.fromhex(self.l1.answer("eth_call", call, "latest")[2:])

    def do(self, name: str, to: bytes, data: bytes, value: int = 0, **more: Any) -> dict[str, Any]:
        """Send and return the receipt; raises `L1Error` with the reason of a revert."""
        sidecar = more.get("sidecar")
        hashes = [hexed(one) for one in sidecar.hashes] if sidecar else []
        if to:
            extra: dict[str, Any] = {"value": hex(value)}
            if hashes:
                extra["blobVersionedHashes"] = hashes
            self.call(to, data, name, **extra)
        receipt = self.receipt(self.send(name, to, data, value, **more))
        assert receipt is not None
        assert receipt["status"] == "0x1"
        self.last = receipt
        return receipt


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def reason(error: L1Error) -> str:
    return error.message.removeprefix("execution reverted: ")
