"""`eth_*`, `net_*`, `web3_*`: as much of Ethereum's interface as wallets call when they connect.

What lives here: a chain id, blocks with the fields that ethers and viem insist on, and plain
refusals. What must never live here: a pretence: there are no Ethereum transactions on this chain,
no gas and no code; a wallet signs typed data and sends it with `clob_submit`.

Formats are those that both libraries accepted (docs/wallets.md): quantities in minimal
hexadecimal, every field of a block present, base fee 1 gwei so that no legacy transaction is built.
"""

from typing import Final

from msgspec import Raw

from consensus.block import HASH_ZERO, Header, block_hash
from consensus.keccak import keccak256
from node import __version__
from node.app import Node
from node.rpc.client import Client
from node.rpc.dispatch import Method, RpcError
from node.rpc.params import by_position

NO_TRANSACTIONS: Final = 7388
GWEI: Final = 10**9
EMPTY_LIST_HASH: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
EMPTY_TRIE_ROOT: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


def eth_methods(node: Node) -> dict[str, Method]:
    chain = node.chain
    chain_id = chain.genesis.chain_id

    def fixed(value: object) -> Method:
        def method(params: Raw, client: Client) -> object:
            return value

        return method

    def block_number(params: Raw, client: Client) -> object:
        return hex(chain.blocks.head().height)

    def by_number(params: Raw, client: Client) -> object:
        tag, *_ = by_position(params, 1, 2)
        heights = {"latest": chain.blocks.head().height, "earliest": 0,
                   "pending": chain.blocks.head().height, "safe": chain.certified,
                   "finalized": chain.certified}  # fmt: skip
        height = heights.get(str(tag))
        if height is None:
            height = _quantity(tag)
        lowest = chain.blocks.foundation().height
        if not lowest <= height <= chain.blocks.head().height:
            return None
        return _block(chain.blocks.header(height))

    def by_hash(params: Raw, client: Client) -> object:
        tag, *_ = by_position(params, 1, 2)
        try:
            height = chain.blocks.height_of(bytes.fromhex(str(tag)[2:]))
        except ValueError:
            height = None
        return None if height is None else _block(chain.blocks.header(height))

    def refuse(params: Raw, client: Client) -> object:
        text = "this chain has no Ethereum transactions: sign typed data and use clob_submit"
        raise RpcError(NO_TRANSACTIONS, f"{text} (docs/wallets.md)")

    version = f"Rialto/{__version__}"
    return {
        "eth_chainId": fixed(hex(chain_id)),
        "net_version": fixed(str(chain_id)),
        "net_listening": fixed(node.network is not None),
        "web3_clientVersion": fixed(version),
        "web3_sha3": _sha3,
        "eth_syncing": fixed(False),
        "eth_blockNumber": block_number,
        "eth_getBlockByNumber": by_number,
        "eth_getBlockByHash": by_hash,
        "eth_getBalance": fixed("0x0"),
        "eth_getTransactionCount": fixed("0x0"),
        "eth_getCode": fixed("0x"),
        "eth_gasPrice": fixed(hex(GWEI)),
        "eth_maxPriorityFeePerGas": fixed("0x0"),
        "eth_feeHistory": fixed(
            {"oldestBlock": "0x0", "baseFeePerGas": [], "gasUsedRatio": [], "reward": []}
        ),
        "eth_accounts": fixed([]),
        "eth_getLogs": fixed([]),
        "eth_getTransactionByHash": fixed(None),
        "eth_getTransactionReceipt": fixed(None),
        "eth_call": fixed("0x"),
        "eth_estimateGas": refuse,
        "eth_sendTransaction": refuse,
        "eth_sendRawTransaction": refuse,
    }


def _sha3(params: Raw, client: Client) -> object:
    (data,) = by_position(params, 1, 1)
    try:
        return "0x" + keccak256(bytes.fromhex(str(data)[2:])).hex()
    except ValueError:
        raise RpcError(-32602, "give 0x and hexadecimal digits") from None


def _quantity(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError:
        raise RpcError(-32602, f"{str(value)[:32]!r} is no block number or tag") from None


def _block(header: Header) -> dict[str, object]:
    """A header in the fields of an Ethereum block; what has no counterpart is zero."""
    zero = "0x" + HASH_ZERO.hex()
    return {
        "number": hex(header.height),
        "hash": "0x" + block_hash(header).hex(),
        "parentHash": "0x" + header.parent.hex(),
        "timestamp": hex(header.time // 1000),
        "stateRoot": "0x" + header.state_root.hex(),
        "transactionsRoot": "0x" + header.commands_root.hex(),
        "receiptsRoot": "0x" + header.events_root.hex(),
        "nonce": "0x0000000000000000",
        "sha3Uncles": EMPTY_LIST_HASH,
        "logsBloom": "0x" + "00" * 256,
        "miner": "0x" + "00" * 20,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "size": "0x0",
        "gasLimit": hex(30_000_000),
        "gasUsed": "0x0",
        "baseFeePerGas": hex(GWEI),
        "mixHash": zero,
        "withdrawals": [],
        "withdrawalsRoot": EMPTY_TRIE_ROOT,
        "transactions": [],
        "uncles": [],
    }
