"""`clob_submit`, `clob_submitBatch`, `clob_digest`: signed commands and what becomes of them.

What lives here: from JSON to a submission, and from the leader's answer to JSON. What must never
live here: whether a command is good; the leader and the core say that.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Raw, Struct

from consensus import layout
from consensus.authority import context_of, group_digest
from consensus.block import ROW_BYTES
from consensus.commands import Group
from consensus.exceptions import ConsensusError, InvalidSignature
from consensus.signatures import address_words, from_wallet, recover
from consensus.typed_data import Domain, as_json
from consensus.wording import Names, render
from node.app import Node
from node.roles.sequencer import BAD_SIGNATURE
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Later, Method, RpcError
from node.rpc.events import events_json
from node.rpc.methods.directory import Directory, hex_bytes
from node.rpc.operations import AnyOperation, Whole, fitting, rows_of, whole
from node.rpc.params import by_name
from node.submission import Answer, Submission, read_submission

BATCH_COMMANDS_MAX: Final = 100
TOO_MANY: Final = 7381
ANY_SIGNATURE: Final = "0x" + "11" * 64 + "00"


class Command(Struct, forbid_unknown_fields=True):
    """A signed group: `group` packed in hexadecimal, or its parts and `operations`."""

    signature: str = ""
    group: str = ""
    account: int = 0
    key: int = 0
    nonce: Whole = 0
    expires: Whole = 0
    signer: str = ""
    operations: list[AnyOperation] = []
    events: bool = False


class Commands(Struct, forbid_unknown_fields=True):
    commands: list[Command]


class CommandMethods:
    """The methods, on one node."""

    def __init__(self, node: Node, directory: Directory) -> None:
        self._node = node
        self._directory = directory

    def submit(self, params: Raw, client: Client) -> object:
        """One signed group; the answer comes when it is durable."""
        command = by_name(params, Command)
        submission = self.submission(command)
        later = Later()

        def done(answer: Answer) -> None:
            later.finish(lambda: self._answered(submission, answer, command.events))

        self._node.submits.submit_then(submission, done)
        return later

    def submit_batch(self, params: Raw, client: Client) -> object:
        """Several groups, each included or refused for itself; answers in their order."""
        batch = by_name(params, Commands).commands
        if not 0 < len(batch) <= BATCH_COMMANDS_MAX:
            raise RpcError(TOO_MANY, f"{len(batch)} commands: give 1 to {BATCH_COMMANDS_MAX}")
        submissions = [self.submission(command) for command in batch]
        answers: dict[int, Answer] = {}
        later = Later()

        def told() -> object:
            return [
                _in_batch(self._answered(submission, answers[n], command.events))
                for n, (submission, command) in enumerate(zip(submissions, batch, strict=True))
            ]

        def one(n: int) -> Callable[[Answer], None]:
            def done(answer: Answer) -> None:
                answers[n] = answer
                if len(answers) == len(batch):
                    later.finish(told)

            return done

        for n, submission in enumerate(submissions):
            self._node.submits.submit_then(submission, one(n))
        return later

    def submission(self, command: Command) -> Submission:
        """The packed form of a command. Raises numbered errors for what cannot be one."""
        signature = from_wallet(hex_bytes(command.signature, "signature"))
        if command.group:
            return read_submission(hex_bytes(command.group, "group") + signature)
        key = command.key
        if not (0 <= key <= layout.KEYS_PER_ACCOUNT or key == layout.KEY_GOVERNANCE):
            raise RpcError(INVALID_PARAMS, f"key {key}: 0 is the owner, 1 to 4 are session keys")
        signer = address_words(hex_bytes(command.signer, "signer", 20))
        operations = rows_of(command.operations, self._directory.markets())
        nonce, expires = whole(command.nonce), whole(command.expires)
        group = Group(key, command.account, nonce, expires, signer, operations)
        if not 0 < group.size <= layout.GROUP_OPERATIONS_MAX:
            text = f"{group.size} operations: give 1 to {layout.GROUP_OPERATIONS_MAX}"
            raise RpcError(TOO_MANY, text)
        return fitting(Submission, group, signature)

    def _answered(self, submission: Submission, answer: Answer, events: bool) -> object:
        if answer.number:
            data: dict[str, object] = {"command": "0x" + submission.hash.hex()}
            if answer.number in (BAD_SIGNATURE, layout.SIGNER):
                data |= self._recovered(submission)
            if answer.number == layout.NONCE_USED:
                data |= self._place(submission)
            return RpcError(answer.number, answer.text, data)
        result: dict[str, object] = {
            "height": answer.height,
            "sequence": answer.sequence,
            "operations": submission.group.size,
            "command": "0x" + submission.hash.hex(),
            "promise": "0x" + answer.promise.hex(),
        }
        if events:
            result["events"] = events_json(answer.events)
        return result

    def _place(self, submission: Submission) -> dict[str, int]:
        """Where the group with this nonce is, if it is sealed: a retry finds its answer."""
        group = submission.group
        place = self._node.chain.blocks.find_command(group.account, group.key, group.nonce)
        return {"height": place.height, "sequence": place.sequence} if place else {}

    def _recovered(self, submission: Submission) -> dict[str, str]:
        """What this node saw: so that a wrong signature can be understood."""
        memory, group = self._node.chain.state.memory, submission.group
        try:
            digest = group_digest(memory.M, context_of(self._node.chain.state), group)
            seen = {"digest": "0x" + digest.hex(), "signer": "0x" + group.owner().hex()}
            return seen | {"recovered": "0x" + recover(digest, submission.signature).hex()}
        except ConsensusError as error:
            return {"reason": error.text}

    def digest(self, params: Raw, client: Client) -> object:
        """What to sign for a command without signature: the digest, and the owner's typed data."""
        command = by_name(params, Command)
        command.signature = command.signature or ANY_SIGNATURE
        group = self.submission(command).group
        try:
            state = self._node.chain.state
            signed = group_digest(state.memory.M, context_of(state), group)
        except InvalidSignature as error:
            raise RpcError(error.number, error.text) from error
        found: dict[str, object] = {
            "digest": "0x" + signed.hex(),
            "group": "0x" + group.rows.hex(),
        }
        if group.key in (layout.KEY_OWNER, layout.KEY_GOVERNANCE):
            genesis, names = self._node.chain.genesis, Names(state.memory.M)
            domain = Domain(genesis.chain_id, genesis.contract, genesis.hash)
            shown = [
                render(group.operations[at : at + ROW_BYTES], names)
                for at in range(0, len(group.operations), ROW_BYTES)
            ]
            found["typed_data"] = as_json(domain, group.owner(), group.nonce, group.expires, shown)
        return found

    def methods(self) -> dict[str, Method]:
        return {
            "clob_submit": self.submit,
            "clob_submitBatch": self.submit_batch,
            "clob_digest": self.digest,
        }


def _in_batch(result: object) -> object:
    """A refusal as an item of a list, where it cannot be an error."""
    if isinstance(result, RpcError):
        return {"error": {"code": result.code, "message": result.message, "data": result.data}}
    return result
