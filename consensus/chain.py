"""The state of a chain: its memory, its head, and the facts of genesis that every block needs.

What lives here: the value `State`, block 0, and room for markets that a block will list. What must
never live here: a rule of blocks (`transition`), or of the exchange (the core).

Theory. Block 0 has no body. Its operations are those of the genesis file (`genesis.rows`), run one
by one with the checks of any other: governance under key 253, deposits under key 254. Its header
has the roots of two empty streams for rows and signatures, those of the operations' events, and
counts them, so a genesis deposit has a receipt like a later one. `VALIDATORS_HASH` is set before
they run and its epoch stays 0.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from librt.vecs import vec
from mypy_extensions import i64

from consensus import genesis as genesis_file
from consensus import layout
from consensus.block import HASH_ZERO, Header, block_hash
from consensus.commands import ROW, Group
from consensus.exceptions import CoreFault, InvalidGenesis
from consensus.execute import operate
from consensus.forks import Schedule
from consensus.genesis import Genesis
from consensus.governance import region_words
from consensus.signatures import address_words
from consensus.state.memory import Memory, Sizes, empty_ledger
from consensus.streams import bytes_root
from consensus.typed_data import Domain, domain_separator

GENESIS_REFUSED: Final = 6030
NO_NEIGHBOUR: Final = 9200

EVENT_BYTES: Final = 64
HASH_WORDS: Final = Struct("<4q")

Words: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """What no block changes. `separator` is the EIP-712 domain's hash."""

    genesis_hash: bytes
    separator: bytes
    drift_max_ms: int
    forks: Schedule


@dataclass(slots=True)
class State:
    """A chain at one block. `memory` and `head` change together, in `transition` only."""

    chain: Chain
    memory: Memory
    head: Header
    head_hash: bytes


def validators_hash(M: vec[i64]) -> bytes:
    """The set that certifies blocks, as the state names it: 32 bytes."""
    return HASH_WORDS.pack(*[M[layout.VALIDATORS_HASH + n] for n in range(4)])


def genesis_state(genesis: Genesis) -> State:
    """The chain at block 0, or `InvalidGenesis` `GENESIS_REFUSED` for an operation refused."""
    memory = Memory(_ledger(genesis))
    memory.reserve(sum(words for _, words in genesis_file.memory_words(genesis)))
    rows = genesis_file.rows(genesis)
    known: list[tuple[Words, int]] = [((0, 0, 0), 0)]
    known.append((address_words(genesis.fee_account), layout.FEE_ACCOUNT))
    events = b"".join([_run(memory, row, n, known) for n, row in enumerate(rows)])
    header = Header(
        version=genesis.forks.at(0).version,
        height=0,
        parent=genesis.hash,
        time=genesis.time,
        round=0,
        proposer=0,
        validators_hash=genesis.validators_hash,
        l1_number=0,
        l1_hash=HASH_ZERO,
        l1_time=0,
        l1_messages=0,
        l1_queue_hash=HASH_ZERO,
        state_root=memory.seal(),
        commands_root=bytes_root("commands", b""),
        signatures_root=bytes_root("signatures", b""),
        events_root=bytes_root("events", events),
        withdrawals_root=bytes_root("withdrawals", b""),
        commands=len(rows),
        sequence=memory.M[layout.SEQUENCE],
    )
    domain = Domain(genesis.chain_id, genesis.contract, genesis.hash)
    chain = Chain(genesis.hash, domain_separator(domain), genesis.drift_max_ms, genesis.forks)
    return State(chain, memory, header, block_hash(header))


def _ledger(genesis: Genesis) -> vec[i64]:
    sizes = genesis.sizes
    M = empty_ledger(
        Sizes(sizes.assets_max, sizes.markets_max, sizes.accounts_max, sizes.table_slots),
        genesis.parameters,
        address_words(genesis.governor),
        address_words(genesis.fee_account),
        genesis.time,
    )
    for n, word in enumerate(HASH_WORDS.unpack(genesis.validators_hash)):
        M[layout.VALIDATORS_HASH + n] = word
    return M


def _run(memory: Memory, row: bytes, number: int, known: list[tuple[Words, int]]) -> bytes:
    """Run one genesis operation; its events. `known`: addresses in order, with their accounts."""
    M, S = memory.M, memory.S
    words = ROW.unpack(row)
    accounts = M[layout.ACCOUNTS]
    S[layout.S_ACCOUNT] = 0
    S[layout.S_KEY] = layout.KEY_GOVERNANCE
    if words[0] & 255 == layout.OP_DEPOSIT:
        signer = words[1:4]
        for n, word in enumerate(signer):
            S[layout.S_SIGNER + n] = word
        low, account = known[bisect_right(known, (signer, accounts)) - 1]
        S[layout.S_KEY] = layout.KEY_DEPOSIT
        S[layout.S_LOW] = account
        S[layout.S_ACCOUNT] = account if low == signer else 0
    operate(M, S, row, 0)
    if M[layout.ACCOUNTS] > accounts:
        insort(known, (words[1:4], accounts))
    events = memory.take_events()
    memory.make_room()
    kinds = events[::EVENT_BYTES]
    if layout.EVENT_REFUSED in kinds:
        reason = events[kinds.index(layout.EVENT_REFUSED) * EVENT_BYTES + 1]
        text = f"genesis operation {number} is refused with {reason} (docs/protocol/events.md)"
        raise InvalidGenesis(GENESIS_REFUSED, f"{text}; correct its entry", reason=reason)
    return events


def low_neighbour(M: vec[i64], address: Words) -> int:
    """The account with the largest address that is not above these three words; 0 if none is."""
    accounts = M[layout.AT_ACCOUNTS]
    low = 0
    for _ in range(M[layout.ACCOUNTS]):
        after = M[accounts + low * 32 + layout.ACCOUNT_NEXT]
        at = accounts + after * 32
        if after == 0 or (M[at], M[at + 1], M[at + 2]) > address:
            return int(low)
        low = after
    raise CoreFault(NO_NEIGHBOUR, "the list of accounts does not end; stop and restore the state")


def listing_words(M: vec[i64], groups: list[Group]) -> int:
    """Words that the markets listed by these groups of one block will take at most.

    Only groups of the governor count, else a proposer could make others allocate. Whether a change
    of governor in the block will be refused is not known yet, so the old one and the new one count.
    """
    at = layout.GOVERNOR + layout.KEY_ADDRESS
    governors = {(int(M[at]), int(M[at + 1]), int(M[at + 2]))}
    total = 0
    for group in groups:
        if group.key != layout.KEY_GOVERNANCE or group.signer not in governors:
            continue
        for words in ROW.iter_unpack(group.operations):
            op = words[0] & 255
            if op == layout.OP_GOVERNOR:
                governors.add(words[1:4])
            elif op == layout.OP_LIST_MARKET:
                total += _region(M, words[1])
    return total


def _region(M: vec[i64], size: int) -> int:
    """Words of a market of this size class, 0 if there is no such class (the core refuses it)."""
    bits = size >> 16 & 255, size >> 24 & 255, size >> 32 & 255
    if not (6 <= bits[0] <= 28 and 6 <= bits[1] <= 20 and 6 <= bits[2] <= 16):
        return 0
    return int(region_words(*bits, M[layout.ACCOUNTS_MAX]))
