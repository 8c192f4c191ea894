"""Signed orders as JSON-RPC texts, for the rpc bench, and the chain that takes them.

What lives here: a genesis with funded wallets, orders that they sign. What must never live here: a
socket or a clock.

Each order is an immediate-or-cancel buy far below every ask, signed as typed data by the owner of
its account, with the next nonce: the node verifies, locks, looks into the book, releases. Padded to
413 bytes with blanks, the size that the bars were set for.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from typing import Final

from consensus import commands, layout
from consensus.authority import context_of, group_digest
from consensus.chain import State, genesis_state, low_neighbour
from consensus.commands import Group
from consensus.finality import bls
from consensus.genesis import Genesis
from consensus.signatures import address_of, address_words, public_key_of, sign
from node.rpc.operations import TIFS

ORDER_BYTES: Final = 413
GROUP_LIFE_MS: Final = 3_600_000
PRICE: Final = 6_400_000
LOTS: Final = 10_000
WALLETS: Final = 8


def secret(name: str) -> bytes:
    """A key that everybody can compute."""
    return b"\0" + sha256(f"rialto/bench/rpc/{name}".encode("ascii")).digest()[1:]


def rpc_genesis(time_ms: int) -> bytes:
    """The bytes of `genesis/devnet.json` with these wallets, one validator, and rates to spare."""
    value = json.loads(resources.files("genesis").joinpath("devnet.json").read_text("ascii"))
    value["time"] = time_ms
    value["parameters"] |= {"rate_per_s": 1_000_000, "rate_burst": 1_000_000}
    key = secret("validator")
    proof = "0x" + bls.prove_possession(key).hex()
    value["validators"] = [{"key": "0x" + bls.public_key_of(key).hex(), "proof": proof}]
    value["deposits"] = [
        {"owner": "0x" + _owner(wallet).hex(), "asset": "USD", "amount": 1 << 50}
        for wallet in range(WALLETS)
    ]
    return json.dumps(value).encode("ascii")


def signed_orders(genesis: Genesis, wallet: int, count: int, first: int = 0) -> list[bytes]:
    """`count` calls of `clob_submit`, ids and nonces from `first` on (nonces one higher)."""
    state = genesis_state(genesis)
    words = address_words(_owner(wallet))
    account = low_neighbour(state.memory.M, words)
    return [_order(state, wallet, account, words, n) for n in range(first, first + count)]


def unsigned_orders(genesis: Genesis, count: int) -> list[bytes]:
    """The same order again and again under other ids; its signature is never looked at."""
    (order,) = signed_orders(genesis, 0, 1)
    return [order.replace(b'"id": 0,', b'"id": %d,' % n).ljust(ORDER_BYTES) for n in range(count)]


def _owner(wallet: int) -> bytes:
    return address_of(public_key_of(secret(f"wallet {wallet}")))


def _order(state: State, wallet: int, account: int, words: Sequence[int], number: int) -> bytes:
    expires = state.head.time + GROUP_LIFE_MS
    row = commands.place(0, layout.BUY, 0, PRICE, LOTS, tif=TIFS["ioc"])
    signer = (words[0], words[1], words[2])
    group = Group(layout.KEY_OWNER, account, number + 1, expires, signer, row)
    digest = group_digest(state.memory.M, context_of(state), group)
    operation = {"op": "place", "market": 0, "side": "buy", "client": 0, "price": PRICE,
                 "lots": LOTS, "tif": "ioc"}  # fmt: skip
    params = {
        "account": account,
        "nonce": number + 1,
        "expires": expires,
        "signer": "0x" + _owner(wallet).hex(),
        "operations": [operation],
        "signature": "0x" + sign(secret(f"wallet {wallet}"), digest).hex(),
    }
    call = {"jsonrpc": "2.0", "id": number, "method": "clob_submit", "params": params}
    return json.dumps(call).encode("ascii").ljust(ORDER_BYTES)
