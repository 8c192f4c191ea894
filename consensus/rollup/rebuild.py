"""From what is posted of a block back to the block: the header that nobody sent.

What lives here: the signers that a payload leaves out, and the header's roots, computed on the
state before the block. What must never live here: a check of the block (`transition.apply_block` is
the one door), blobs, or where a payload came from.

Theory. A payload has what a proposer chose; heights, hashes, counters and roots follow. The signer
of a command is the address of its key in the state *just before its group*, because an earlier
group may have made the account or changed the governor. So the block is executed group by group to
read signers and roots, and taken back. Then it is a block like any other, and `apply_block`
executes it again with every check, signatures included. Executing twice costs little beside the
signatures.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.authority import Context, context_of, group_digest
from consensus.block import HASH_BYTES, ROW_BYTES, SIGNATURE_BYTES, Block, groups
from consensus.chain import State, listing_words
from consensus.commands import ROW, Group, read_groups
from consensus.da.payload import BlockBody, restore_signers
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, InvalidSignature
from consensus.execute import PHASE_COMMANDS
from consensus.proposal import Opening, unsealed
from consensus.sealing import results_of, roll_back
from consensus.signatures import recover
from consensus.streams import bytes_root
from consensus.transition import (
    CORE_EXCEPTION,
    SIGNATURE,
    begin,
    check_header,
    check_idle,
    run,
    run_messages,
)

NOT_POSTED: Final = 3210

Words = tuple[int, int, int]
NOBODY: Final[Words] = (0, 0, 0)
ACCOUNT_WORDS: Final = 32
KEY_WORDS: Final = 16


def rebuild(state: State, body: BlockBody) -> Block:
    """The block that `body` is on top of the head; the state stays as it was, to the last word.

    Raises `InvalidBlock` `NOT_POSTED` if `body` has no signatures, and what `apply_block` raises
    for a header or group that cannot be; everything else is for `apply_block` to find.
    """
    if len(body.signatures) == HASH_BYTES and body.commands:
        text = "the signatures of this block were not posted; ask an archive of the side-car"
        raise InvalidBlock(NOT_POSTED, text)
    memory = state.memory
    opening = Opening(
        body.time, body.l1_number, body.l1_hash, body.l1_time, body.round, body.proposer
    )
    header = unsealed(state, opening)
    check_idle(memory)
    check_header(state, header)
    words = listing_words(memory.M, _listing(state, body))
    if words:
        memory.reserve(memory.M[layout.END] + words)
    try:
        begin(memory, header.height, header.time, header.l1_number)
        _, events = run_messages(memory, body.messages)
        commands = []
        for row, count, _ in groups(body.commands):
            rows = body.commands[row * ROW_BYTES : (row + 1 + count) * ROW_BYTES]
            commands.append(restore_signers(rows, partial(signer, memory.M)))
            events += run(memory, commands[-1], PHASE_COMMANDS)
        whole = b"".join(commands)
        results = results_of(state, body.messages, events, _operations(body.messages, whole))
    except BaseException as error:
        if isinstance(error, ConsensusError) or not isinstance(error, Exception):
            raise
        text = f"the core failed in block {header.height} ({error!r}); stop and raise an alarm"
        raise CoreFault(CORE_EXCEPTION, text) from error
    finally:
        roll_back(memory)
    header = replace(
        header,
        l1_messages=results.l1_messages,
        l1_queue_hash=results.l1_queue_hash,
        state_root=results.state_root,
        commands_root=bytes_root("commands", body.messages + whole),
        signatures_root=bytes_root("signatures", body.signatures),
        events_root=results.events_root,
        withdrawals_root=results.withdrawals_root,
        commands=results.commands,
        sequence=results.sequence,
    )
    return Block(header, body.messages, whole, body.signatures)


def signer(M: vec[i64], account: int, key: int) -> Words:
    """The address words of a key as the state has it now; zeros if there is no such key."""
    if key == layout.KEY_GOVERNANCE:
        at = layout.GOVERNOR + layout.KEY_ADDRESS
    elif not 0 < account < M[layout.ACCOUNTS]:
        return NOBODY
    elif key == layout.KEY_OWNER:
        at = M[layout.AT_ACCOUNTS] + account * ACCOUNT_WORDS + layout.ACCOUNT_ADDRESS
    elif 1 <= key <= layout.KEYS_PER_ACCOUNT:
        at = M[layout.AT_KEYS] + (account * layout.KEYS_PER_ACCOUNT + key - 1) * KEY_WORDS
    else:
        return NOBODY
    return int(M[at]), int(M[at + 1]), int(M[at + 2])


def _operations(messages: bytes, commands: bytes) -> int:
    return sum(count for rows in (messages, commands) for _, count, _ in groups(rows))


def _listing(state: State, body: BlockBody) -> list[Group]:
    """The governance groups with their signers, which are found by their signatures.

    Room for a listed market is made before the block opens, so these signers are needed before
    anything ran. Without the signature anybody's group could make us allocate gigabytes.
    """
    M = state.memory.M
    context = context_of(state)
    governors = [signer(M, 0, layout.KEY_GOVERNANCE)]
    found = []
    for n, group in enumerate(read_groups(body.commands)):
        if group.key != layout.KEY_GOVERNANCE:
            continue
        signature = body.signatures[n * SIGNATURE_BYTES : (n + 1) * SIGNATURE_BYTES]
        whole = _signed(M, context, group, signature, governors)
        if whole is None:
            raise InvalidBlock(SIGNATURE, f"group {n} is not signed by a governor", group=n)
        found.append(whole)
        for words in ROW.iter_unpack(group.operations):
            if words[0] & 255 == layout.OP_GOVERNOR:
                governors.append(words[1:4])
    return found


def _signed(
    M: vec[i64], context: Context, group: Group, signature: bytes, signers: Sequence[Words]
) -> Group | None:
    """The group with that one of `signers` who signed it."""
    for words in reversed(signers):
        whole = group._replace(signer=words)
        try:
            if recover(group_digest(M, context, whole), signature) == whole.owner():
                return whole
        except InvalidSignature:
            continue
    return None
