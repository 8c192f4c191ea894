"""Who signed a group: the digest that its key signs, checked against the state before the block.

What lives here: digests of groups in a state's context, recovery of a body's signers, and the only
maker of `VerifiedGroup`. What must never live here: whether the signer may act: the core compares
the header row's signer with the key in the state.

Theory. Signatures are verified before anything is executed, so that they can be recovered together
and in other threads. A digest may therefore depend only on the state *before the block*: on names
of markets and assets (`wording`), and on the grant epoch of a session key. A grant inside the block
starts a new epoch. Were a group of that key let in after it, its signature would have been checked
against the old epoch, and what was signed before a revocation would live again. So

    a block in which a group of a session key follows a grant of the same account and slot
    is invalid (3010): the first group of a fresh key goes into the next block.

`check_grants` sees it from the events. A group with a key that nobody can sign with, or fields that
have no place in a digest, has no signer and is invalid by the same number.

Recovery is passed in: the rules are single-threaded, a node may spread the pairs over threads.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.block import SIGNATURE_BYTES
from consensus.chain import EVENT_BYTES, Chain, State
from consensus.commands import Group
from consensus.exceptions import CoreFault, InvalidBlock, InvalidSignature
from consensus.typed_data import ROW_BYTES, digest, session_digest
from consensus.wording import Names, render

SIGNATURE: Final = 3010
NOT_VERIFIED: Final = 9201

EVENT: Final = Struct("<8q")
GRANTED: Final = bytes((layout.EVENT_GRANTED,))
SIGNED_AS_TEXT: Final = (layout.KEY_OWNER, layout.KEY_GOVERNANCE)

Pair: TypeAlias = tuple[bytes, bytes]
Recover: TypeAlias = Callable[[Sequence[Pair]], list[bytes | None]]
"""(digest, signature) pairs to addresses, None where there is none: `signatures.recover_many`."""


class Context(NamedTuple):
    """What a digest depends on besides the group: fixed while one block is executed."""

    chain: Chain
    head: bytes  # hash of the block before
    names: Names
    epochs: dict[tuple[int, int], int]  # (account, slot) looked up so far

    @property
    def wording(self) -> tuple[bytes, int, int]:
        """Where this is the same, so are the words of every row.

        On one head, what may differ is what an open block has listed; and that adds to the counts.
        """
        return self.head, self.names.assets, self.names.markets


def context_of(state: State) -> Context:
    """The context of the next block. Take it before anything of that block is executed."""
    return Context(state.chain, state.head_hash, Names(state.memory.M), {})


def epoch_of(M: vec[i64], account: int, slot: int) -> int:
    """The grant epoch of a session key; 0 if there is no such key."""
    if not 0 < account < M[layout.ACCOUNTS]:
        return 0
    record = M[layout.AT_KEYS] + (account * layout.KEYS_PER_ACCOUNT + slot - 1) * 16
    return int(M[record + layout.KEY_EPOCH])


def group_digest(M: vec[i64], context: Context, group: Group) -> bytes:
    """The 32 bytes that the group's key signs.

    Raises `InvalidSignature` for a key that signs nothing, or fields that no digest holds.
    """
    chain = context.chain
    if 1 <= group.key <= layout.KEYS_PER_ACCOUNT:
        at = (group.account, group.key)
        epoch = context.epochs.get(at)
        if epoch is None:
            epoch = context.epochs[at] = epoch_of(M, *at)
        return session_digest(
            chain.genesis_hash, *at, epoch, group.nonce, group.expires, group.operations
        )
    if group.key not in SIGNED_AS_TEXT:
        raise InvalidSignature(SIGNATURE, f"key kind {group.key} signs nothing")
    rows = group.operations
    shown = [
        render(rows[at : at + ROW_BYTES], context.names) for at in range(0, len(rows), ROW_BYTES)
    ]
    return digest(chain.separator, group.owner(), group.nonce, group.expires, shown)


def check_signatures(
    M: vec[i64], context: Context, groups: Sequence[Group], signatures: bytes, recover: Recover
) -> None:
    """Raise `InvalidBlock` `SIGNATURE` unless each group is signed by its header row's signer."""
    pairs = []
    owners = []
    for n, group in enumerate(groups):
        try:
            signed = group_digest(M, context, group)
            owners.append(group.owner())
        except InvalidSignature as error:
            raise InvalidBlock(SIGNATURE, f"group {n} has no digest: {error}", group=n) from error
        at = n * SIGNATURE_BYTES
        pairs.append((signed, signatures[at : at + SIGNATURE_BYTES]))
    recovered = recover(pairs)
    if recovered != owners:
        n = next(n for n, owner in enumerate(owners) if recovered[n : n + 1] != [owner])
        text = f"the signature of group {n} is not by the signer of its header row"
        raise InvalidBlock(SIGNATURE, text, group=n)


class Grant(NamedTuple):
    """A session key that was granted in this block, by the operation `sequence`."""

    account: int
    slot: int
    sequence: int


def grants_in(events: bytes) -> list[Grant]:
    """The grants among a block's events, in order."""
    kinds = events[::EVENT_BYTES]
    found = []
    at = kinds.find(GRANTED)
    while at >= 0:
        words = EVENT.unpack_from(events, at * EVENT_BYTES)
        found.append(Grant(account=words[6], slot=words[2], sequence=words[1]))
        at = kinds.find(GRANTED, at + 1)
    return found


def check_grants(events: bytes, groups: Sequence[Group], sequence: int) -> None:
    """Raise `InvalidBlock` `SIGNATURE` if a session key's group follows a grant of that key.

    `sequence` is that of the last operation before the commands.
    """
    first: dict[tuple[int, int], int] = {}
    for account, slot, granted in grants_in(events):
        first.setdefault((account, slot), granted)
    if not first:
        return
    for group in groups:
        sequence += group.size
        if first.get((group.account, group.key), sequence) < sequence:
            text = f"key {group.key} of account {group.account} was granted earlier in this block"
            raise InvalidBlock(SIGNATURE, f"{text}; its groups go into the next one")


class VerifiedGroup:
    """A group whose signature was checked. Only `verify_groups` makes one.

    It is good for blocks whose context gives the group the same digest.
    """

    __slots__ = ("_digest", "_wording", "group", "rows", "signature")

    def __init__(
        self, maker: object, group: Group, signature: bytes, signed: bytes, context: Context
    ) -> None:
        if maker is not _MAKER:
            text = "a group was marked as verified without verification; use verify_groups"
            raise CoreFault(NOT_VERIFIED, text)
        self.group: Final = group
        self.rows: Final = group.rows
        self.signature: Final = signature
        self._digest: Final = signed
        self._wording: Final = context.wording

    def is_good_in(self, M: vec[i64], context: Context) -> bool:
        """Whether the context gives the group the digest that its signature was checked against.

        An owner's digest is dear and depends on the wording alone; a session key's is cheap.
        """
        if self.group.key in SIGNED_AS_TEXT and self._wording == context.wording:
            return True
        return group_digest(M, context, self.group) == self._digest


_MAKER: Final = object()


def verify_groups(
    state: State, signed: Sequence[tuple[Group, bytes]], recover: Recover
) -> list[VerifiedGroup | None]:
    """Check (group, signature) pairs against the state; None for each that is not good.

    The leader's way in: what comes out may be proposed without another recovery.
    """
    M, context = state.memory.M, context_of(state)
    pairs: list[Pair] = []
    owners: list[bytes | None] = []
    for group, signature in signed:
        try:
            pairs.append((group_digest(M, context, group), signature))
            owners.append(group.owner())
        except InvalidSignature:
            pairs.append((b"", signature))
            owners.append(None)
    verified: list[VerifiedGroup | None] = []
    for (group, signature), pair, owner, address in zip(
        signed, pairs, owners, recover(pairs), strict=True
    ):
        good = owner is not None and owner == address
        verified.append(VerifiedGroup(_MAKER, group, signature, pair[0], context) if good else None)
    return verified
