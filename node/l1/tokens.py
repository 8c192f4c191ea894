"""ERC-20 as far as a deposit needs it, and the token that development chains are made with.

What lives here: calldata and answers. What must never live here: sending, or which token is whose.
"""

import json
from importlib import resources
from typing import Final

from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError

from consensus.keccak import keccak256
from node.exceptions import NodeError
from node.l1.surface import L1

NOT_A_TOKEN: Final = 7794
ETHER: Final = bytes(20)
"""The token address that stands for ether."""
ETHER_DECIMALS: Final = 18


def approve(spender: bytes, amount: int) -> bytes:
    return _call("approve(address,uint256)", spender, amount)


def mint(amount: int) -> bytes:
    """Of a development token: `amount` for the sender."""
    return _call("mint(uint256)", amount)


def creation(symbol: str, decimals: int) -> bytes:
    """Data of the transaction that makes a development token."""
    text = resources.files("node.l1").joinpath("contracts/DevToken.json").read_text("utf-8")
    made = bytes.fromhex(json.loads(text)["bytecode"][2:])
    return made + encode(["string", "uint8"], [symbol, decimals])


async def decimals_of(l1: L1, token: bytes) -> int:
    """Raises `NodeError` 7794 where no token answers."""
    if token == ETHER:
        return ETHER_DECIMALS
    return await _read(l1, token, "decimals()")


async def balance_of(l1: L1, token: bytes, owner: bytes) -> int:
    """L1 units: wei, or the token's. Raises `NodeError` 7794."""
    if token == ETHER:
        return int(await l1.request("eth_getBalance", "0x" + owner.hex(), "latest"), 16)
    return await _read(l1, token, "balanceOf(address)", owner)


async def allowance(l1: L1, token: bytes, owner: bytes, spender: bytes) -> int:
    """Raises `NodeError` 7794."""
    return await _read(l1, token, "allowance(address,address)", owner, spender)


async def _read(l1: L1, token: bytes, function: str, *values: bytes) -> int:
    asked = {"to": "0x" + token.hex(), "data": "0x" + _call(function, *values).hex()}
    answer = bytes.fromhex((await l1.request("eth_call", asked, "latest"))[2:])
    try:
        (number,) = decode(["uint256"], answer)
    except DecodingError as error:
        text = f"0x{token.hex()} is no token: it does not answer {function}"
        raise NodeError(NOT_A_TOKEN, f"{text}; check the address and the L1") from error
    return int(number)


def _call(function: str, *values: object) -> bytes:
    types = function[function.index("(") + 1 : -1]
    return keccak256(function.encode())[:4] + encode(types.split(",") if types else [], values)
