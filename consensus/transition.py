"""`apply_block`: the one door through which a block changes the state.

What lives here: every check of docs/protocol/blocks.md in its order, execution, and undo. What must
never live here: how the core works, proposing (`proposal`), storage, time.

Theory. A block is a claim: these rows, run on this state, give these roots. The checks go from
cheap to dear: the header alone, the body's shape, its roots, the signatures, then execution, then
what execution computed. Until the last comparison has passed, the head is the old one; whatever
fails, the first-touch images put every word back. An exception that is not ours is a fault of the
core: undone as well, and reported as such, so that a node stops instead of voting.
"""

from typing import Final

from consensus import authority, layout
from consensus.authority import Recover, check_grants, check_signatures, context_of
from consensus.block import (
    ROW_BYTES,
    Block,
    Header,
    block_hash,
    check_body,
    check_body_roots,
)
from consensus.chain import State, listing_words, validators_hash
from consensus.commands import Group, read_groups
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, NotIncludable
from consensus.execute import (
    PHASE_COMMANDS,
    PHASE_MESSAGES,
    execute,
    housekeeping,
    open_block,
)
from consensus.sealing import Outcome, Results, commit, results_of, roll_back
from consensus.signatures import recover_many
from consensus.state.memory import Memory

VERSION: Final = 3001
HEIGHT: Final = 3002
PARENT: Final = 3003
TIME: Final = 3004
VALIDATORS: Final = 3005
ORIGIN: Final = 3006
SIGNATURE: Final = authority.SIGNATURE
DRIFT: Final = 3011
L1_MESSAGES: Final = 3012
QUEUE_HASH: Final = 3013
STATE_ROOT: Final = 3014
EVENTS_ROOT: Final = 3015
WITHDRAWALS_ROOT: Final = 3016
COMMANDS: Final = 3017
SEQUENCE: Final = 3018
CORE_EXCEPTION: Final = 9202
CORE_STOPPED: Final = 9203
BLOCK_OPEN: Final = 9204

AHEAD_MAX_MS: Final = 86_400_000
DRIFTING: Final = (
    layout.OP_CANCEL,
    layout.OP_CANCEL_CLIENT,
    layout.OP_CANCEL_ALL,
    layout.OP_WITHDRAW,
    layout.OP_REVOKE,
)
"""What a block may carry whose time has left its L1 origin's behind."""
FAULTS: Final = {
    layout.NONCE_USED: "the nonce is used",
    layout.NONCE_OLD: "the nonce is 256 or more below the highest used",
    layout.NONCE_FAR: "the nonce is more than 2^20 above the highest used",
    layout.KEY_UNKNOWN: "the account has no such key",
    layout.SIGNER: "the signer is not the key's address",
    layout.GROUP_EXPIRED: "it expired before the block's time",
    layout.GROUP_FAR: "it expires more than a day after the block's time",
    layout.RATE: "the account has no rate tokens left for it",
    layout.GROUP_SHAPE: "its header row has no legal form",
    layout.ACCOUNT_UNKNOWN: "there is no such account",
    layout.HINT: "the account is not the low neighbour of the signer",
    layout.BLOCK_FULL: "the block has touched as many leaves as one may",
    layout.L1_ORDER: "it is not the next of the L1 queue",
    layout.GROUP_KEY_EXPIRED: "the session key has expired",
    layout.PHASE: "this kind of key does not belong into this part of the body",
}


def apply_block(state: State, block: Block, recover: Recover = recover_many) -> Outcome:
    """Check `block` on top of the head and make it the head.

    Raises `InvalidBlock` 3001 .. 3018, `NotIncludable` 4001 .. 4015 or `CoreFault` 9202 .. 9204;
    the state is then as it was, to the last word. An interrupt takes the block back as well.
    Several faults: the first in the order of blocks.md.
    """
    header = block.header
    check_idle(state.memory)
    check_header(state, header)
    operations = check_body(block)
    check_body_roots(block)
    memory = state.memory
    groups = list(read_groups(block.commands))
    try:
        check_signatures(memory.M, context_of(state), groups, block.signatures, recover)
        reserve_listings(memory, groups)
        begin(memory, header.height, header.time, header.l1_number)
        sequence, events = run_messages(memory, block.messages)
        events += run(memory, block.commands, PHASE_COMMANDS)
        check_grants(events, groups, sequence)
        check_drift(state, header, groups)
        results = results_of(state, block.messages, events, operations)
        check_results(header, results)
        hashed = block_hash(header)
    except BaseException as error:
        roll_back(memory)
        if isinstance(error, ConsensusError) or not isinstance(error, Exception):
            raise
        text = f"the core failed in block {header.height} ({error!r}); stop, do not vote"
        raise CoreFault(CORE_EXCEPTION, text) from error
    leaves = commit(memory)
    state.head, state.head_hash = header, hashed
    return Outcome(hashed, events, results.withdrawals, operations, leaves)


def check_idle(memory: Memory) -> None:
    """9204: a block that is open on this memory would be mixed with the new one."""
    if memory.S[layout.S_DIRTY]:
        text = "another block is open on this state; seal or abandon it first"
        raise CoreFault(BLOCK_OPEN, text)


def check_header(state: State, header: Header) -> None:
    """The checks that need the head and the header alone: 3001 .. 3006."""
    head = state.head
    version = state.chain.forks.at(head.height + 1).version
    if header.version != version:
        raise InvalidBlock(VERSION, f"block version {header.version}, this height has {version}")
    if header.height != head.height + 1:
        text = f"height {header.height} does not follow {head.height}"
        raise InvalidBlock(HEIGHT, text)
    if header.parent != state.head_hash:
        raise InvalidBlock(PARENT, "the parent is not our head")
    if not head.time < header.time <= head.time + AHEAD_MAX_MS:
        text = f"time {header.time} is not within a day after the parent's {head.time}"
        raise InvalidBlock(TIME, text)
    if header.validators_hash != validators_hash(state.memory.M):
        raise InvalidBlock(VALIDATORS, "the validator set is not that of the state")
    if header.l1_number < head.l1_number or header.l1_time < head.l1_time:
        raise InvalidBlock(ORIGIN, "the L1 origin goes back")
    if header.l1_number == head.l1_number:
        if (header.l1_hash, header.l1_time) != (head.l1_hash, head.l1_time):
            raise InvalidBlock(ORIGIN, "one L1 number with two hashes or times")


def reserve_listings(memory: Memory, groups: list[Group]) -> None:
    """Make room for the markets that these groups list. Before the block opens."""
    words = listing_words(memory.M, groups)
    if words:
        memory.reserve(memory.M[layout.END] + words)


def begin(memory: Memory, height: int, time: int, l1_number: int) -> None:
    open_block(memory.M, memory.S, height, time, l1_number)


def run_messages(memory: Memory, messages: bytes) -> tuple[int, bytes]:
    """The L1 messages, schedules and the sweep; SEQUENCE before the commands, and the events."""
    events = run(memory, messages, PHASE_MESSAGES)
    housekeeping(memory.M, memory.S)
    events += memory.take_events()
    memory.make_room()
    return int(memory.M[layout.SEQUENCE]), events


def run(memory: Memory, rows: bytes, phase: int) -> bytes:
    """Execute whole groups; their events. Raises `NotIncludable` 40xx for the group at fault."""
    parts = []
    at, end = 0, len(rows)
    while at < end:
        before = at
        at = execute(memory.M, memory.S, rows, at, end, phase)
        fault = memory.S[layout.S_FAULT]
        if fault:
            row = at // ROW_BYTES
            text = f"the group at row {row} cannot be in this block: {FAULTS[fault]}"
            raise NotIncludable(int(fault), text, row=row)
        parts.append(memory.take_events())
        memory.make_room()
        if at == before:
            raise CoreFault(CORE_STOPPED, f"the core made no progress at row {at // ROW_BYTES}")
    return b"".join(parts)


def check_drift(state: State, header: Header, groups: list[Group]) -> None:
    """3011: once the block's time has left the origin's behind, only what reduces risk."""
    drift_max = state.chain.drift_max_ms
    if drift_max == 0 or header.time <= 1000 * header.l1_time + drift_max:
        return
    for group in groups:
        op = next((op for op in group.operations[::ROW_BYTES] if op not in DRIFTING), None)
        if op is not None:
            text = f"operation {op} in a block more than {drift_max} ms after its L1 origin"
            raise InvalidBlock(DRIFT, f"{text}; adopt a newer origin", operation=op)


def check_results(header: Header, results: Results) -> None:
    """What the header claims against what execution computed: 3012 .. 3018."""
    if header.l1_messages != results.l1_messages:
        text = f"{header.l1_messages} L1 messages in the header, {results.l1_messages} here"
        raise InvalidBlock(L1_MESSAGES, text)
    if header.l1_queue_hash != results.l1_queue_hash:
        raise InvalidBlock(QUEUE_HASH, "the queue hash is not that of the messages")
    if header.state_root != results.state_root:
        raise InvalidBlock(STATE_ROOT, f"the state root is {results.state_root.hex()} here")
    if header.events_root != results.events_root:
        raise InvalidBlock(EVENTS_ROOT, "the events are not those that the header names")
    if header.withdrawals_root != results.withdrawals_root:
        raise InvalidBlock(WITHDRAWALS_ROOT, "the withdrawals are not those that the header names")
    if header.commands != results.commands:
        text = f"{header.commands} operations in the header, {results.commands} in the body"
        raise InvalidBlock(COMMANDS, text)
    if header.sequence != results.sequence:
        text = f"the last operation is {header.sequence} in the header, {results.sequence} here"
        raise InvalidBlock(SEQUENCE, text)
