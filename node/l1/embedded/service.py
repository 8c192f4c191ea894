"""The embedded L1 behind HTTP: the same chain, for the processes of one machine.

What lives here: its methods as JSON-RPC, its blobs as a beacon node gives them out, the clock that
makes its blocks, its funded accounts. What must never live here: rules of the chain, or a lever
that a real L1 does not have.

It is in memory and ends with its process: an L1 for trying things out and for `scripts/devnet`,
whose nodes reach it exactly as they would reach ethrex.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio
from eth.exceptions import HeaderNotFound
from msgspec import Raw

from node.config import Address
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.surface import METHODS, L1Error
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher, Method, RpcError
from node.rpc.http import Page
from node.rpc.server import RpcServer
from node.wallet.dev_accounts import dev_accounts

FUNDED: Final = 10
FUNDS_WEI: Final = 10**6 * 10**18
BLOBS_PATH: Final = "/eth/v1/beacon/blobs/"
PARAMS_MAX: Final = 4
"""No method of the subset takes more."""

_params: Final = msgspec.json.Decoder(list[Any])


def funded(more: Iterable[bytes] = ()) -> dict[bytes, int]:
    """Wei by address: a million ether for each dev account and each of `more`."""
    known = [account.address for account in dev_accounts(FUNDED)]
    return dict.fromkeys([*known, *more], FUNDS_WEI)


def l1_server(l1: EmbeddedL1, address: Address) -> RpcServer:
    """The port on which it answers; `run` serves."""
    return RpcServer(address, Dispatcher(methods_of(l1)), _Pages(l1))


def methods_of(l1: EmbeddedL1) -> dict[str, Method]:
    """The methods that every execution client has, by name."""
    return {name: _method(l1, name) for name in METHODS}


def _method(l1: EmbeddedL1, name: str) -> Method:
    def answer(params: Raw, client: Client) -> object:
        given = _params.decode(bytes(params) or b"[]")
        try:
            return l1.answer(name, *given[:PARAMS_MAX])
        except L1Error as error:
            data = "0x" + error.data.hex() if error.data else None
            raise RpcError(error.code, error.message, data) from error

    return answer


class _Pages(Mapping[str, Callable[[], Page]]):
    """`/`, and the blobs of a block: `/eth/v1/beacon/blobs/{number}?versioned_hashes=0x..,0x..`.

    There is no beacon chain, so blobs lie under the numbers of L1 blocks, as anvil has them.
    """

    def __init__(self, l1: EmbeddedL1) -> None:
        self._l1 = l1

    def __getitem__(self, target: str) -> Callable[[], Page]:
        if target == "/":
            return _front_page
        parts = urlsplit(target)
        number = parts.path.removeprefix(BLOBS_PATH)
        if number == parts.path or not number.isdecimal() or len(number) > 18:
            raise KeyError(target)
        listed = parse_qs(parts.query).get("versioned_hashes", [])
        asked = {one for text in listed for one in text.split(",")}
        return lambda: self._blobs(int(number), asked)

    def _blobs(self, number: int, asked: set[str]) -> Page:
        """All blobs of a block, or those asked for, in its order."""
        chain = self._l1.chain
        try:
            block = chain.block_at(number)
        except HeaderNotFound:
            body = msgspec.json.encode({"code": 404, "message": f"no block {number}"})
            return Page(b"application/json", body, 404)
        sidecars = [chain.pool.sidecar(one.hash) for one in block.transactions]
        found = [
            "0x" + blob.hex()
            for sidecar in sidecars
            if sidecar is not None
            for blob, name in zip(sidecar.blobs, sidecar.hashes, strict=True)
            if not asked or "0x" + name.hex() in asked
        ]
        is_final = number <= chain.finalized_number
        answer = {"execution_optimistic": False, "finalized": is_final, "data": found}
        return Page(b"application/json", msgspec.json.encode(answer))

    def __iter__(self) -> Iterator[str]:
        yield "/"

    def __len__(self) -> int:
        return 1


async def make_blocks(l1: EmbeddedL1, every_s: float) -> None:
    """A block each `every_s` seconds, for ever; blocks that come late are not made up for.

    No two blocks have the same second: below one second the chain's clock runs ahead of ours.
    """
    while True:
        due = trio.current_time() + every_s
        l1.chain.mine()
        await trio.sleep_until(due)


def _front_page() -> Page:
    text = b"Rialto's embedded L1. JSON-RPC 2.0 by POST, the eth_ methods of every client.\n"
    return Page(b"text/plain; charset=utf-8", text)
