"""The recorded flow as signed commands, ready to be sent, a batch at a time.

What lives here: which wallet signs what, nonces, and the JSON of a batch. What must never live
here: a socket, or the order in which batches are sent.

Consecutive messages of one wallet share a group and a signature, as a market maker's bursts do; the
owners grant session keys first. What depends on the state before the first block (account numbers,
the wording of a grant) is computed from the genesis file and L1's queue: a wallet that asked the
node for what it signs would trust it.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from consensus.authority import context_of, group_digest
from consensus.chain import State, genesis_state
from consensus.commands import Group
from consensus.genesis import Genesis
from consensus.signatures import address_words, sign
from consensus.typed_data import session_digest
from node.flow.bitstamp import Message
from node.flow.orders import Terms, Translator
from node.flow.replay import GROUP_LIFE_MS, QUOTE, accounts_of, bundles
from node.flow.wallets import SESSION_SLOT, Signatures, Wallet, wallet
from node.submission import Submission

COMMANDS_PER_BATCH: Final = 100
BYTES_PER_BATCH: Final = 64 << 10
"""Of signed groups; in hexadecimal that is half of what a WebSocket message may hold."""
FIRST_EPOCH: Final = 1


class Batch(NamedTuple):
    """Parameters of one `clob_submitBatch`; `sizes` are the operations of each command."""

    params: bytes
    first: int  # index in the flow of its first operation
    sizes: tuple[int, ...]

    def after(self, count: int) -> "Batch":
        """The same without its first commands."""
        commands = msgspec.json.decode(self.params)["commands"][count:]
        params = msgspec.json.encode({"commands": commands})
        return Batch(params, self.first + sum(self.sizes[:count]), self.sizes[count:])


class SignedFlow:
    """`grants` once; then `batches` for consecutive parts of the flow."""

    def __init__(
        self,
        genesis: Genesis,
        wallets: Sequence[Wallet],
        signatures: Signatures,
        accounts: Sequence[int] | None = None,
    ) -> None:
        """`accounts`: their numbers; without them, those that the genesis deposits make."""
        state = genesis_state(genesis)
        self._genesis = genesis
        self._wallets = wallets
        self._signatures = signatures
        self._accounts = accounts or accounts_of(state, wallets)
        ticks = 1 << genesis.markets[0].price_bits
        self._translator = Translator(len(wallets), Terms(genesis.sizes.table_slots, ticks))
        self._nonces = [0] * len(wallets)
        self._state: State | None = state
        self._made = 0

    def grants(self, now_ms: int) -> list[Submission]:
        """Each owner's first group: its session key may trade."""
        assert self._state is not None, "grants are made once"
        state, self._state = self._state, None
        M, context = state.memory.M, context_of(state)
        made = []
        for who, account in zip(self._wallets, self._accounts, strict=True):
            group = who.grant_group(account, now_ms + GROUP_LIFE_MS, QUOTE)
            made.append(Submission(group, sign(who.owner_key, group_digest(M, context, group))))
        return made

    def batches(self, messages: Sequence[Message], now_ms: int) -> list[Batch]:
        """The next messages of the flow, signed. Runs for a while; call it in a thread."""
        rows = [self._translator.row(message) for message in messages]
        submissions = self.sign(list(bundles(rows)), now_ms)
        return [self._batch(part) for part in parts(submissions)]

    def sign(self, groups: Sequence[tuple[int, bytes]], now_ms: int) -> list[Submission]:
        """Each wallet's rows as a group, signed with its session key."""
        made, jobs = [], []
        for sender, rows in groups:
            who = self._wallets[sender]
            self._nonces[sender] += 1
            place = SESSION_SLOT, self._accounts[sender], self._nonces[sender]
            group = Group(*place, now_ms + GROUP_LIFE_MS, address_words(who.session), rows)
            made.append(group)
            jobs.append((who.session_key, self._digest(group)))
        return list(map(Submission, made, self._signatures.sign(jobs)))

    def _digest(self, group: Group) -> bytes:
        place = group.account, group.key, FIRST_EPOCH, group.nonce, group.expires
        return session_digest(self._genesis.hash, *place, group.operations)

    def _batch(self, part: Sequence[Submission]) -> Batch:
        sizes = tuple(submission.group.size for submission in part)
        first, self._made = self._made, self._made + sum(sizes)
        return Batch(batch_params(part), first, sizes)


def parts(submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
    """Consecutive submissions that fit one call."""
    part: list[Submission] = []
    size = 0
    for submission in submissions:
        length = len(submission.data)
        if part and (len(part) == COMMANDS_PER_BATCH or size + length > BYTES_PER_BATCH):
            yield part
            part, size = [], 0
        part.append(submission)
        size += length
    if part:
        yield part


def batch_params(submissions: Sequence[Submission]) -> bytes:
    """Parameters of `clob_submitBatch` that ask for the events too."""
    commands = [
        {
            "group": "0x" + submission.group.rows.hex(),
            "signature": "0x" + submission.signature.hex(),
            "events": True,
        }
        for submission in submissions
    ]
    return msgspec.json.encode({"commands": commands})


def wallets_of(count: int) -> list[Wallet]:
    return [wallet(number) for number in range(count)]
