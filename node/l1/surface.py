"""The one surface of every L1: `request(method, params)`, as JSON-RPC has it.

What lives here: the protocol, its errors, the methods that we may use. What must never live here:
an L1. The embedded chain and the HTTP client both fit; nothing above them knows which it talks to.

We restrict ourselves to methods that every execution client has in its default set; ethrex's is
`eth,net,web3` without filters over HTTP. `request` refuses others, so that no code grows to depend
on the embedded chain's or anvil's own.
"""

from typing import Any, Final, Protocol

from node.exceptions import NodeError

L1_ANSWER: Final = 7720
L1_UNREACHABLE: Final = 7721
L1_METHOD: Final = 7722

METHODS: Final = frozenset({
    "eth_blobBaseFee", "eth_blockNumber", "eth_call", "eth_chainId", "eth_config",
    "eth_estimateGas", "eth_feeHistory", "eth_gasPrice", "eth_getBalance", "eth_getBlockByHash",
    "eth_getBlockByNumber", "eth_getCode", "eth_getLogs", "eth_getStorageAt",
    "eth_getTransactionByHash", "eth_getTransactionCount", "eth_getTransactionReceipt",
    "eth_maxPriorityFeePerGas", "eth_sendRawTransaction", "net_version", "web3_clientVersion",
})  # fmt: skip

# JSON-RPC 2.0, and EIP-1474 for those above -32100
METHOD_UNKNOWN: Final = -32601
PARAMS_WRONG: Final = -32602
REFUSED: Final = -32000
REVERTED: Final = 3


class L1Error(NodeError):
    """The L1 answered with an error: its own `code` and `data` (of a revert: the reason)."""

    def __init__(self, code: int, message: str, data: bytes = b"") -> None:
        text = f"the L1 refused: {message} (code {code})"
        super().__init__(L1_ANSWER, text, code=code, data=data)
        self.code: Final = code
        self.message: Final = message
        self.data: Final = data


class L1(Protocol):
    """An execution client, or what answers like one."""

    async def request(self, method: str, *params: Any) -> Any:
        """The method's result. Raises `L1Error` as answered, `NodeError` 7721 if nobody answers,
        7722 for a method outside `METHODS`."""


def check_method(method: str) -> None:
    if method not in METHODS:
        text = f"{method} is not in the default set of every execution client; do without it"
        raise NodeError(L1_METHOD, text)


def as_hex(data: bytes) -> str:
    """Bytes as JSON-RPC has them."""
    return "0x" + data.hex()


def from_hex(text: str) -> bytes:
    """Raises `ValueError` for anything else than 0x and whole bytes in hexadecimal."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{text!r} is not 0x and hexadecimal")
    return bytes.fromhex(text[2:])


def revert_reason(data: bytes) -> str:
    """The text of `Error(string)` in a revert's data, or its hexadecimal."""
    if data[:4] == bytes.fromhex("08c379a0") and len(data) >= 68:
        size = int.from_bytes(data[36:68], "big")
        return data[68 : 68 + size].decode("utf-8", "replace")
    return data.hex()
