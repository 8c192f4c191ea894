"""`chain_*`: status, blocks, receipts and proofs; what a light client or an explorer reads.

What lives here: answers from what is kept, and from sealed state for proofs. What must never live
here: trust: every answer can be checked against a certificate and a root.
"""

from typing import Final

from msgspec import Raw, Struct

from consensus import receipts
from consensus.block import block_hash, encode_header
from consensus.finality.promises import encode_appointment
from consensus.state import statements
from consensus.state.proof import Proof
from node.app import Node
from node.l1.committer import KINDS
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Method, RpcError
from node.rpc.events import EVENT, events_json
from node.rpc.methods.directory import hex_bytes
from node.rpc.methods.settled import settled
from node.rpc.operations import Whole, whole
from node.rpc.params import by_name

UNKNOWN_BLOCK: Final = 7384
UNKNOWN_COMMAND: Final = 7385
NOT_SEALED: Final = 7386
EVENTS_MAX: Final = 1000
"""Of one answer: a full block's would hold up the loop for a tenth of a second."""


class AtHeight(Struct, forbid_unknown_fields=True):
    """By `height` or by `hash`; the head if neither is given."""

    height: int | None = None
    hash: str | None = None
    commands: bool = False
    events: bool = False
    first_event: int = 0


class AskProof(Struct, forbid_unknown_fields=True):
    """`kind` account, balance, order, client_order or level, and what that kind needs."""

    kind: str
    address: str = ""
    asset: int = 0
    market: int = 0
    handle: Whole = 0
    client: Whole = 0
    side: str = "buy"
    price: int = 0


class AskReceipt(Struct, forbid_unknown_fields=True):
    """By `sequence`, or by `account`, `key` and `nonce`."""

    sequence: Whole | None = None
    account: int | None = None
    key: int = 0
    nonce: Whole | None = None


class ChainMethods:
    """The methods, on one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chain = node.chain

    def status(self, params: Raw, client: Client) -> object:
        """Which chain this is, how far it is, and who promises on it."""
        chain, genesis = self._chain, self._chain.genesis
        head = chain.blocks.head()
        appointment = self._node.appointment
        return {
            "name": genesis.name,
            "chain_id": genesis.chain_id,
            "genesis_hash": "0x" + genesis.hash.hex(),
            "contract": "0x" + genesis.contract.hex(),
            "settlement": genesis.settlement,
            "fork_id": "0x" + genesis.forks.fork_id(genesis.hash).hex(),
            "role": "leader" if self._node.leads else "follower",
            "height": head.height,
            "hash": "0x" + head.hash.hex(),
            "state_root": "0x" + chain.blocks.header(head.height).state_root.hex(),
            "time": chain.blocks.header(head.height).time,
            "certified": chain.certified,
            "stage": self._node.stages.of(head.height),
            "l1": self._l1_json(),
            "validators": len(chain.validators),
            "quorum": chain.validators.quorum if len(chain.validators) else 0,
            "appointment": "0x" + encode_appointment(appointment).hex() if appointment else None,
            "alarms": chain.alarms[-5:],
        }

    def _l1_json(self) -> object:
        """What this node knows of L1; null without one. `heights`: of the stages' last blocks."""
        bridge = self._node.bridge
        if bridge is None:
            return None
        facts, head = bridge.facts, self._chain.blocks.header(self._chain.blocks.head().height)
        final, latest = facts.finalized, facts.latest
        return {
            "head": facts.head.number if facts.head else None,
            "safe": facts.safe,
            "finalized": final.number if final else None,
            "origin": head.l1_number,
            "queued": latest.items,
            "consumed": head.l1_messages,
            "committed": latest.committed,
            "batches_final": latest.finalized,
            "frozen": latest.frozen,
            "heights": self._node.stages.heights._asdict(),
            "problem": bridge.watcher.problem,
            "committer": self._committer_json(),
        }

    def _committer_json(self) -> object:
        """What a committing leader does now; null elsewhere. `backlog_bytes` is an estimate."""
        settling = self._node.settling
        committer = settling.committer if settling else None
        if committer is None:
            return None
        backlog = committer.backlog
        return {
            "address": "0x" + committer.lane.address.hex(),
            "phase": committer.phase,
            "halted": committer.halted or None,
            "backlog_blocks": backlog.next - 1 - backlog.posted,
            "backlog_bytes": backlog.bytes,
            "only_leaving": backlog.is_over,
            "pending": [
                {
                    "kind": KINDS[one.kind],
                    "batch": one.number,
                    "nonce": one.nonce,
                    "transactions": ["0x" + attempt.hash.hex() for attempt in one.attempts],
                }
                for one in committer.lane.intents
            ],
        }

    def validators(self, params: Raw, client: Client) -> object:
        """The validators' keys, with the proofs that their holders have the secrets."""
        return [
            {"key": "0x" + one.key.hex(), "proof": "0x" + one.proof.hex()}
            for one in self._chain.genesis.validators
        ]

    def get_header(self, params: Raw, client: Client) -> object:
        """A header, its bytes, and the block's certificate if there is one."""
        return self._header_json(self._height(by_name(params, AtHeight)))

    def get_block(self, params: Raw, client: Client) -> object:
        """A header, with the rows and signatures, and 1000 of its events, if asked for."""
        asked = by_name(params, AtHeight)
        height = self._height(asked)
        found = self._header_json(height)
        if asked.commands:
            block = self._chain.blocks.block(height)
            found |= {"messages": "0x" + block.messages.hex(),
                      "commands": "0x" + block.commands.hex(),
                      "signatures": "0x" + block.signatures.hex()}  # fmt: skip
        if asked.events:
            events = self._chain.blocks.events(height)
            first = max(0, asked.first_event) * EVENT.size
            found["events_total"] = len(events) // EVENT.size
            found["events"] = events_json(events[first : first + EVENTS_MAX * EVENT.size])
        return found

    def _height(self, asked: AtHeight) -> int:
        blocks = self._chain.blocks
        if asked.hash is not None:
            height = blocks.height_of(hex_bytes(asked.hash, "a block hash", 32))
            if height is None:
                raise RpcError(UNKNOWN_BLOCK, f"no block {asked.hash} is kept here")
            return height
        head = blocks.head().height
        if asked.height is None:
            return head
        if not blocks.foundation().height <= asked.height <= head:
            lowest = blocks.foundation().height
            text = f"no block {asked.height} here; kept are {lowest} to {head}"
            raise RpcError(UNKNOWN_BLOCK, text)
        return asked.height

    def _header_json(self, height: int) -> dict[str, object]:
        header = self._chain.blocks.header(height)
        certificate = self._chain.blocks.certificate(height)
        fields = {name: getattr(header, name) for name in header.__dataclass_fields__}
        found: dict[str, object] = {
            name: "0x" + value.hex() if isinstance(value, bytes) else value
            for name, value in fields.items()
        }
        found["hash"] = "0x" + block_hash(header).hex()
        found["header"] = "0x" + encode_header(header).hex()
        found["certificate"] = "0x" + certificate.hex() if certificate else None
        found["stage"] = self._node.stages.of(height)
        return found

    def get_receipt(self, params: Raw, client: Client) -> object:
        """The receipt of a sealed operation: its events, and a proof under the block's hash."""
        asked = by_name(params, AskReceipt)
        blocks = self._chain.blocks
        if asked.sequence is not None:
            sequence = whole(asked.sequence)
            height = blocks.find_sequence(sequence) if sequence >= 0 else None
        elif asked.account is not None and asked.nonce is not None:
            if min(asked.account, asked.key, whole(asked.nonce)) < 0:
                raise RpcError(INVALID_PARAMS, "account, key and nonce are not negative")
            place = blocks.find_command(asked.account, asked.key, whole(asked.nonce))
            height, sequence = (place.height, place.sequence) if place else (None, 0)
        else:
            raise RpcError(INVALID_PARAMS, "give sequence, or account, key and nonce")
        if height is None:
            raise RpcError(UNKNOWN_COMMAND, "no sealed block that is kept here has this command")
        header = blocks.header(height)
        receipt = receipts.make(header, blocks.events(height), sequence)
        hashed = block_hash(header)
        return {
            "height": height,
            "hash": "0x" + hashed.hex(),
            "sequence": sequence,
            "stage": self._node.stages.of(height),
            "receipt": "0x" + receipts.encode_receipt(receipt).hex(),
            "events": events_json(receipts.verify(receipt, hashed)),
        }

    def get_proof(self, params: Raw, client: Client) -> object:
        """A proof of one statement under the state root of the head.

        Only sealed state has a root: while a leader's block is open, the words are ahead of it.
        """
        asked = by_name(params, AskProof)
        return settled(self._node, lambda: self._proven(asked))

    def _proven(self, asked: AskProof) -> object:
        if self._node.is_ahead:
            raise RpcError(NOT_SEALED, "a block is open; ask a follower, or again in a moment")
        state = self._chain.state
        proof = self._proof(asked)
        return {
            "height": state.head.height,
            "hash": "0x" + state.head_hash.hex(),
            "state_root": "0x" + state.head.state_root.hex(),
            "proof": "0x" + proof.encode().hex(),
        }

    def _proof(self, asked: AskProof) -> Proof:
        memory = self._chain.state.memory
        if asked.kind == "account":
            return statements.prove_account(memory, hex_bytes(asked.address, "an address", 20))
        if asked.kind == "balance":
            address = hex_bytes(asked.address, "an address", 20)
            return statements.prove_balance(memory, address, asked.asset)
        if asked.kind == "order":
            return statements.prove_order(memory, asked.market, whole(asked.handle))
        if asked.kind == "client_order":
            address = hex_bytes(asked.address, "an address", 20)
            return statements.prove_client_order(memory, address, whole(asked.client))
        if asked.kind == "level" and asked.side in ("buy", "sell"):
            side = ("buy", "sell").index(asked.side)
            return statements.prove_level(memory, asked.market, side, asked.price)
        text = f"kind {asked.kind[:32]!r}: account, balance, order, client_order or level"
        raise RpcError(INVALID_PARAMS, text)

    def methods(self) -> dict[str, Method]:
        return {
            "chain_status": self.status,
            "chain_validators": self.validators,
            "chain_getHeader": self.get_header,
            "chain_getBlock": self.get_block,
            "chain_getReceipt": self.get_receipt,
            "chain_getProof": self.get_proof,
        }
