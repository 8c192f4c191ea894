# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Rialto's settlement contract
@license Apache-2.0
@notice Holds what was deposited, orders the L1 queue, keeps the chain of batches, pays withdrawals
        of finalized ones, and, once frozen, pays every balance out of the last finalized state.
@dev docs/protocol/settlement.md gives every byte and every reason. Three ideas carry the rest:
     A batch is one word of storage, the hash of its `Summary`; callers bring the summary back.
     The queue is one word an item, keccak(queue hash, time); callers bring both back.
     A word of L2 is eight bytes, little-endian; four of them are turned around at once (`_turn`).
"""

interface Token:
    def balanceOf(owner: address) -> uint256: view
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, to: address, amount: uint256) -> bool: nonpayable

interface Verifier:
    def verify(values: Bytes[1248], proof: Bytes[4096]) -> bool: view

# The batch as consensus/rollup/batch.py hashes it; its blob hashes are those of the transaction.
struct Batch:
    version: uint256
    number: uint256
    first_height: uint256
    last_height: uint256
    parent_hash: bytes32
    last_hash: bytes32
    pre_state_root: bytes32
    post_state_root: bytes32
    payload_hash: bytes32
    l1_number: uint256
    l1_hash: bytes32
    l1_messages: uint256
    l1_queue_hash: bytes32
    withdrawals_root: bytes32
    validators_hash: bytes32

# What later calls need of a batch. Batch 0 is genesis.
struct Summary:
    batch_hash: bytes32
    time: uint256  # of the L1 block that committed it
    last_hash: bytes32
    last_height: uint256
    post_state_root: bytes32
    l1_messages: uint256
    withdrawals_root: bytes32

# What the committer says about the queue: the time of the last item consumed (0: none), and the
# first one left (zeros: none).
struct Place:
    last_time: uint256
    next_hash: bytes32
    next_time: uint256

struct Signatures:
    members: DynArray[address, 64]
    bitmap: uint256
    signatures: DynArray[bytes32[2], 64]  # EIP-2098

struct Listing:
    token: address  # zero: ether
    scale: uint256  # L1 units of one atom

# An asset's numbers share a word: every deposit and withdrawal reads and writes all of them.
# held: atoms owed to L2, on their way there or back. deposited: atoms ever, as L2 counts them.
struct Asset:
    token: address
    numbers: uint256  # scale | held << 64 | deposited << 128; scale 0: not listed

struct Challenge:
    number: uint256
    challenger: address
    until: uint256

struct Settings:
    mode: uint256
    window_s: uint256
    deadline_s: uint256
    freeze_after_s: uint256
    delay_s: uint256
    bond: uint256
    accounts_leaf: uint256
    balances_leaf: uint256
    accounts_max: uint256
    assets_max: uint256

QUORUM: constant(uint256) = 1
CHALLENGE: constant(uint256) = 2
VALIDITY: constant(uint256) = 3

# The runtime code of the proof verifier that modes 2 and 3 may use. Zero: there is none yet, and
# those modes cannot be deployed. A contract that re-executes or says yes has another hash.
VERIFIER_CODE: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000000

BLOBS_MAX: constant(uint256) = 9
QUANTITY_MAX: constant(uint256) = 2**62 - 1
FORCE_FEE: constant(uint256) = 10**14
ROW_BYTES: constant(uint256) = 64
ROWS_MAX: constant(uint256) = 8
DEPTH_MAX: constant(uint256) = 16
KEY_DEPOSIT: constant(uint256) = 254
KEY_FORCED: constant(uint256) = 255
OP_DEPOSIT: constant(uint256) = 16
EVENT_WITHDRAWN: constant(uint256) = 9
LAYOUT_VERSION: constant(bytes4) = 0x01000000
BLS_MODULUS: constant(uint256) = (
    52435875175126190479447740508185965837690552500527637822603658699938581184513
)
POINT_EVALUATION: constant(address) = 0x000000000000000000000000000000000000000A
# 00ff00ff..., 0000ffff..., 00000000ffffffff...
M8: constant(uint256) = max_value(uint256) // (2**16 - 1) * (2**8 - 1)
M16: constant(uint256) = max_value(uint256) // (2**32 - 1) * (2**16 - 1)
M32: constant(uint256) = max_value(uint256) // (2**64 - 1) * (2**32 - 1)
M48: constant(uint256) = 2**48 - 1
M56: constant(uint256) = 2**56 - 1
M64: constant(uint256) = 2**64 - 1
M255: constant(uint256) = 2**255 - 1

MODE: public(immutable(uint256))
WINDOW_S: public(immutable(uint256))
DEADLINE_S: public(immutable(uint256))
FREEZE_AFTER_S: public(immutable(uint256))
DELAY_S: public(immutable(uint256))
BOND: public(immutable(uint256))
VERIFIER: public(immutable(address))
ACCOUNTS_LEAF: immutable(uint256)
BALANCES_LEAF: immutable(uint256)
ACCOUNTS_MAX: immutable(uint256)
ASSETS_MAX: immutable(uint256)

head: uint256  # committed | finalized << 64
queue_length: public(uint256)
committee: public(bytes32)  # keccak(abi_encode(members))
epoch: public(uint256)
frozen: public(bool)
guardian: public(address)
governor: public(address)
summaries: public(HashMap[uint256, bytes32])
queue: public(HashMap[uint256, bytes32])
last_queue_hash: public(bytes32)
assets: HashMap[uint256, Asset]
claimed: HashMap[uint256, uint256]
exited: HashMap[uint256, HashMap[uint256, bool]]
refunded: HashMap[uint256, bool]
proven: public(HashMap[bytes32, bool])
challenges: public(HashMap[bytes32, Challenge])  # by the hash of the summary
scheduled: public(HashMap[bytes32, uint256])
fees: public(uint256)

event Queued:
    index: indexed(uint256)
    sender: indexed(address)
    queue_hash: bytes32
    time: uint256
    rows: Bytes[576]

event Committed:
    number: indexed(uint256)
    summary: Summary

event Finalized:
    number: indexed(uint256)

event Proven:
    number: indexed(uint256)

event Challenged:
    number: indexed(uint256)
    challenger: address

event Reverted:
    committed: indexed(uint256)

event Withdrawn:
    index: indexed(uint256)
    to: indexed(address)
    asset: uint256
    atoms: uint256

event Frozen:
    finalized: indexed(uint256)

event Exited:
    account: indexed(uint256)
    to: indexed(address)
    asset: uint256
    atoms: uint256

event Refunded:
    index: indexed(uint256)
    to: indexed(address)

event CommitteeChanged:
    epoch: indexed(uint256)
    committee: bytes32
    members: DynArray[address, 64]

event Scheduled:
    action: indexed(bytes32)
    due: uint256

event AssetListed:
    asset: indexed(uint256)
    token: address
    scale: uint256


@deploy
def __init__(
    settings: Settings,
    genesis: Summary,
    members: DynArray[address, 64],
    guardian: address,
    governor: address,
    verifier: address,
    assets: DynArray[Listing, 16],
):
    assert settings.mode >= QUORUM and settings.mode <= VALIDITY, "mode"
    if settings.mode == QUORUM:
        assert verifier == empty(address), "verifier"
    else:
        assert VERIFIER_CODE != empty(bytes32) and verifier.codehash == VERIFIER_CODE, "verifier"
    assert settings.window_s > 0 and settings.deadline_s > 0, "window"
    # An honest chain that stops for a deadline and a window must not be frozen, and a change of
    # governance must leave time to go: to force, to freeze, to exit.
    assert settings.freeze_after_s > settings.deadline_s + settings.window_s, "freeze after"
    assert settings.delay_s > settings.freeze_after_s, "delay"
    assert guardian != empty(address) and governor != empty(address), "roles"
    assert settings.assets_max >= 4 and settings.assets_max <= 64, "assets max"
    assert len(assets) <= settings.assets_max, "assets max"
    MODE = settings.mode
    WINDOW_S = settings.window_s
    DEADLINE_S = settings.deadline_s
    FREEZE_AFTER_S = settings.freeze_after_s
    DELAY_S = settings.delay_s
    BOND = settings.bond
    VERIFIER = verifier
    ACCOUNTS_LEAF = settings.accounts_leaf
    BALANCES_LEAF = settings.balances_leaf
    ACCOUNTS_MAX = settings.accounts_max
    ASSETS_MAX = settings.assets_max
    self.guardian = guardian
    self.governor = governor
    first: Summary = genesis
    first.time = block.timestamp
    first.l1_messages = 0
    first.withdrawals_root = empty(bytes32)
    self.summaries[0] = keccak256(abi_encode(first))
    log Committed(number=0, summary=first)
    self._set_committee(members)
    number: uint256 = 0
    for asset: Listing in assets:
        self._list(number, asset.token, asset.scale)
        number += 1


# Reasons


@internal
@pure
def _must(holds: bool, reason: String[14]):
    """
    @dev `assert` with its reason in one place: inline they are a fifth of EIP-170's 24,576 bytes.
    """
    assert holds, reason


# Words of L2


@internal
@pure
def _turn(lanes: uint256) -> uint256:
    """
    @dev Four 64-bit lanes, each with its bytes in the other order. Its own inverse.
    """
    x: uint256 = ((lanes & M8) << 8) | ((lanes >> 8) & M8)
    x = ((x & M16) << 16) | ((x >> 16) & M16)
    return ((x & M32) << 32) | ((x >> 32) & M32)


@internal
@pure
def _header(key: uint256, count: uint256, index: uint256, signer: uint256) -> Bytes[64]:
    """
    @dev The header row of a group: count and key, account 0, nonce, no expiry, signer.
    """
    left: uint256 = (count << 8 | key << 16) << 192 | index << 64
    right: uint256 = (signer >> 104) << 192 | ((signer >> 48) & M56) << 128 | (signer & M48) << 64
    return concat(convert(self._turn(left), bytes32), convert(self._turn(right), bytes32))


@internal
@pure
def _deposit_rows(index: uint256, owner: address, asset: uint256, atoms: uint256) -> Bytes[576]:
    who: uint256 = convert(owner, uint256)
    left: uint256 = (
        OP_DEPOSIT << 192 | (who >> 104) << 128 | ((who >> 48) & M56) << 64 | (who & M48)
    )
    right: uint256 = asset << 192 | atoms << 128
    return concat(
        self._header(KEY_DEPOSIT, 1, index, who),
        convert(self._turn(left), bytes32),
        convert(self._turn(right), bytes32),
    )


@internal
@pure
def _queue_hash(before: bytes32, rows: Bytes[576]) -> bytes32:
    return sha256(concat(b"rialto/queue/1", before, rows))


@internal
@pure
def _slot(queue_hash: bytes32, time: uint256) -> bytes32:
    return keccak256(abi_encode(queue_hash, time))


# The queue


@internal
def _push(rows: Bytes[576]):
    self._must(not self.frozen, "frozen")
    index: uint256 = self.queue_length
    queue_hash: bytes32 = self._queue_hash(self.last_queue_hash, rows)
    self.last_queue_hash = queue_hash
    self.queue[index] = self._slot(queue_hash, block.timestamp)
    self.queue_length = index + 1
    log Queued(
        index=index, sender=msg.sender, queue_hash=queue_hash, time=block.timestamp, rows=rows
    )


@internal
def _credit(number: uint256, amount: uint256) -> uint256:
    """
    @dev Atoms of an amount that L2 will not refuse: whole atoms, and within its supply.
    """
    numbers: uint256 = self.assets[number].numbers
    scale: uint256 = numbers & M64
    self._must(scale != 0, "asset")
    atoms: uint256 = amount // scale
    self._must(atoms > 0 and atoms * scale == amount, "amount")
    self._must(atoms <= QUANTITY_MAX and (numbers >> 128) + atoms <= QUANTITY_MAX, "supply")
    # held <= deposited < 2^62, so neither sum leaves its 64 bits.
    self.assets[number].numbers = numbers + (atoms << 64) + (atoms << 128)
    return atoms


@external
@payable
@nonreentrant
def deposit(asset: uint256):
    self._must(self.assets[asset].token == empty(address), "token")
    atoms: uint256 = self._credit(asset, msg.value)
    self._push(self._deposit_rows(self.queue_length, msg.sender, asset, atoms))


@external
@nonreentrant
def deposit_token(asset: uint256, amount: uint256):
    token: address = self.assets[asset].token
    self._must(token != empty(address), "token")
    atoms: uint256 = self._credit(asset, amount)
    before: uint256 = staticcall Token(token).balanceOf(self)
    self._must(extcall Token(token).transferFrom(
        msg.sender, self, amount, default_return_value=True
    ), "transfer")
    # A token that takes a fee, or lies, would leave the last ones to withdraw without money.
    self._must(staticcall Token(token).balanceOf(self) == before + amount, "received")
    self._push(self._deposit_rows(self.queue_length, msg.sender, asset, atoms))


@external
@payable
@nonreentrant
def force(rows: Bytes[512]):
    self._must(msg.value == FORCE_FEE, "fee")
    count: uint256 = len(rows) // ROW_BYTES
    self._must(count > 0 and count * ROW_BYTES == len(rows), "rows")
    self.fees += msg.value
    signer: uint256 = convert(msg.sender, uint256)
    self._push(concat(self._header(KEY_FORCED, count, self.queue_length, signer), rows))


# Batches


@internal
@view
def _check(number: uint256, summary: Summary):
    self._must(self.summaries[number] == keccak256(abi_encode(summary)), "summary")


@internal
@view
def _blobs() -> DynArray[bytes32, 9]:
    """
    @dev The versioned hashes of all blobs of this transaction.
    """
    hashes: DynArray[bytes32, 9] = []
    for i: uint256 in range(BLOBS_MAX):
        one: bytes32 = blobhash(i)
        if one == empty(bytes32):
            break
        hashes.append(one)
    return hashes


@internal
@pure
def _batch_hash(batch: Batch, blobs: DynArray[bytes32, 9]) -> bytes32:
    # Behind the two words by which the ABI announces an array are its items.
    items: Bytes[352] = slice(abi_encode(blobs), 64, 32 * len(blobs))
    return sha256(concat(b"rialto/batch/1", abi_encode(batch), items))


@internal
@view
def _check_signatures(text: bytes32, signed: Signatures):
    """
    @dev More than two thirds of the committee over `text`. A member counts once: its bit.
    """
    self._must(keccak256(abi_encode(signed.members)) == self.committee, "committee")
    count: uint256 = 0
    place: uint256 = 0
    for member: address in signed.members:
        if (signed.bitmap >> place) & 1 == 1:
            self._must(count < len(signed.signatures), "signature")
            s: uint256 = convert(signed.signatures[count][1], uint256)
            r: uint256 = convert(signed.signatures[count][0], uint256)
            self._must(ecrecover(text, (s >> 255) + 27, r, s & M255) == member, "signature")
            count += 1
        place += 1
    self._must(count == len(signed.signatures), "signature")
    self._must(count * 3 > place * 2, "quorum")


@internal
@view
def _check_queue(messages: uint256, before: uint256, queue_hash: bytes32, place: Place):
    """
    @dev `messages` items are consumed, in the queue's order, and none that is due is left.
    """
    length: uint256 = self.queue_length
    self._must(messages >= before and messages <= length, "messages")
    if messages == 0:
        self._must(queue_hash == empty(bytes32), "queue hash")
    else:
        self._must(self.queue[messages - 1] == self._slot(queue_hash, place.last_time), "queue hash")
    if messages < length:
        self._must(self.queue[messages] == self._slot(place.next_hash, place.next_time), "next item")
        self._must(block.timestamp <= place.next_time + DEADLINE_S, "expired item")


@external
def commit(batch: Batch, previous: Summary, place: Place, signed: Signatures):
    self._must(not self.frozen, "frozen")
    packed: uint256 = self.head
    number: uint256 = (packed & M64) + 1
    self._must(batch.version == 1, "version")
    self._must(batch.number == number, "number")
    self._check(number - 1, previous)
    self._must(batch.parent_hash == previous.last_hash, "parent")
    self._must(batch.pre_state_root == previous.post_state_root, "root")
    self._must(batch.first_height == previous.last_height + 1, "height")
    self._must(batch.last_height >= batch.first_height and batch.last_height < 2**53, "height")
    self._check_queue(batch.l1_messages, previous.l1_messages, batch.l1_queue_hash, place)
    blobs: DynArray[bytes32, 9] = self._blobs()
    self._must(len(blobs) > 0, "blobs")
    batch_hash: bytes32 = self._batch_hash(batch, blobs)
    text: bytes32 = keccak256(
        abi_encode(keccak256(b"rialto/attest/1"), chain.id, self, MODE, self.epoch, batch_hash)
    )
    self._check_signatures(text, signed)
    summary: Summary = Summary(
        batch_hash=batch_hash,
        time=block.timestamp,
        last_hash=batch.last_hash,
        last_height=batch.last_height,
        post_state_root=batch.post_state_root,
        l1_messages=batch.l1_messages,
        withdrawals_root=batch.withdrawals_root,
    )
    self.summaries[number] = keccak256(abi_encode(summary))
    self.head = packed + 1
    log Committed(number=number, summary=summary)


@external
@nonreentrant
def prove(
    number: uint256,
    summary: Summary,
    batch: Batch,
    blobs: DynArray[bytes32, 9],
    values: DynArray[bytes32, 9],
    openings: DynArray[Bytes[96], 9],
    proof: Bytes[4096],
):
    self._must(MODE != QUORUM, "mode")
    self._must(not self.frozen, "frozen")
    packed: uint256 = self.head
    self._must(number > (packed >> 64) & M64 and number <= packed & M64, "number")
    self._check(number, summary)
    self._must(summary.batch_hash == self._batch_hash(batch, blobs), "batch")
    self._must(len(blobs) == len(values) and len(blobs) == len(openings), "openings")
    words: DynArray[bytes32, 37] = [
        convert(chain.id, bytes32),
        convert(self, bytes32),
        summary.batch_hash,
        batch.pre_state_root,
        batch.post_state_root,
        batch.payload_hash,
        batch.withdrawals_root,
        convert(batch.l1_messages, bytes32),
        batch.l1_queue_hash,
        batch.validators_hash,
    ]
    place: uint256 = 0
    for blob: bytes32 in blobs:
        drawn: bytes32 = sha256(concat(b"rialto/point/1", blob, batch.payload_hash))
        z: bytes32 = convert(convert(drawn, uint256) % BLS_MODULUS, bytes32)
        # Fails unless p(z) = y for the blob's polynomial.
        opened: Bytes[64] = raw_call(
            POINT_EVALUATION,
            concat(blob, z, values[place], openings[place]),
            max_outsize=64,
            is_static_call=True,
        )
        self._must(len(opened) == 64, "opening")
        words.append(blob)
        words.append(z)
        words.append(values[place])
        place += 1
    said: Bytes[1248] = slice(abi_encode(words), 64, 32 * len(words))
    self._must(staticcall Verifier(VERIFIER).verify(said, proof), "proof")
    self.proven[summary.batch_hash] = True
    log Proven(number=number)
    key: bytes32 = self.summaries[number]
    open: Challenge = self.challenges[key]
    if open.challenger != empty(address):
        # Whoever proves an honest batch has done the work that the challenger asked for.
        self.challenges[key] = empty(Challenge)
        raw_call(msg.sender, b"", value=BOND)


@external
@payable
def challenge(number: uint256, summary: Summary):
    self._must(MODE == CHALLENGE, "mode")
    self._must(not self.frozen, "frozen")
    self._must(msg.value == BOND, "bond")
    packed: uint256 = self.head
    self._must(number > (packed >> 64) & M64 and number <= packed & M64, "number")
    self._check(number, summary)
    self._must(block.timestamp < summary.time + WINDOW_S, "window")
    self._must(not self.proven[summary.batch_hash], "proven")
    key: bytes32 = self.summaries[number]
    self._must(self.challenges[key].challenger == empty(address), "challenged")
    self.challenges[key] = Challenge(
        number=number, challenger=msg.sender, until=block.timestamp + WINDOW_S
    )
    log Challenged(number=number, challenger=msg.sender)


@external
@nonreentrant
def finalize(number: uint256, summary: Summary):
    self._must(not self.frozen, "frozen")
    packed: uint256 = self.head
    self._must(number == ((packed >> 64) & M64) + 1 and number <= packed & M64, "number")
    self._check(number, summary)
    if MODE == QUORUM:
        self._must(block.timestamp >= summary.time + WINDOW_S, "window")
    elif MODE == VALIDITY:
        self._must(self.proven[summary.batch_hash], "proof")
    elif not self.proven[summary.batch_hash]:
        self._must(block.timestamp >= summary.time + WINDOW_S, "window")
        key: bytes32 = self.summaries[number]
        self._must(self.challenges[key].challenger == empty(address), "challenged")
    self.head = packed + (1 << 64)
    log Finalized(number=number)


@internal
def _revert_to(number: uint256):
    """
    @dev Batches above `number` are gone; their challengers may reclaim their bonds.
    """
    packed: uint256 = self.head
    committed: uint256 = packed & M64
    self._must(number < committed and number >= (packed >> 64) & M64, "number")
    self.head = (packed >> 64) << 64 | number
    log Reverted(committed=number)


@external
def revert_by_guardian(number: uint256, summary: Summary):
    """
    @notice Inside its window, the guardian may take back batch `number` and all after it.
    """
    self._must(MODE == QUORUM, "mode")
    self._must(msg.sender == self.guardian, "guardian")
    self._must(not self.frozen, "frozen")
    self._check(number, summary)
    self._must(block.timestamp < summary.time + WINDOW_S, "window")
    self._revert_to(number - 1)


@external
@nonreentrant
def revert_unproven(number: uint256, summary: Summary):
    """
    @notice A challenged batch that nobody proved in time is taken back, with all after it.
    """
    self._must(not self.frozen, "frozen")
    self._check(number, summary)
    open: Challenge = self.challenges[self.summaries[number]]
    self._must(open.challenger != empty(address), "challenge")
    self._must(block.timestamp > open.until, "early")
    self._revert_to(number - 1)


@external
@nonreentrant
def reclaim_bond(key: bytes32):
    """
    @notice The bond of a challenge to a batch that is no longer committed. `key` is the hash of its
            summary.
    """
    open: Challenge = self.challenges[key]
    self._must(open.challenger != empty(address), "challenge")
    self._must(open.number > self.head & M64 or self.summaries[open.number] != key, "committed")
    self.challenges[key] = empty(Challenge)
    raw_call(open.challenger, b"", value=BOND)


# Money out


@internal
def _pay(number: uint256, to: address, atoms: uint256):
    numbers: uint256 = self.assets[number].numbers
    self._must(numbers != 0, "asset")
    self._must(atoms > 0 and atoms <= (numbers >> 64) & M64, "held")
    self.assets[number].numbers = numbers - (atoms << 64)
    token: address = self.assets[number].token
    amount: uint256 = atoms * (numbers & M64)
    if token == empty(address):
        raw_call(to, b"", value=amount)
    else:
        self._must(extcall Token(token).transfer(
            to, amount, default_return_value=True
        ), "transfer")


@internal
@pure
def _climb(
    leaf: Bytes[256], place: uint256, path: DynArray[bytes32[3], DEPTH_MAX]
) -> bytes32:
    """
    @dev The top of a 4-ary SHA-256 tree above one leaf; positions beyond its end are zeros.
    """
    digest: bytes32 = sha256(concat(b"\x00", leaf))
    at: uint256 = place
    for siblings: bytes32[3] in path:
        side: uint256 = at & 3
        if side == 0:
            digest = sha256(concat(b"\x01", digest, siblings[0], siblings[1], siblings[2]))
        elif side == 1:
            digest = sha256(concat(b"\x01", siblings[0], digest, siblings[1], siblings[2]))
        elif side == 2:
            digest = sha256(concat(b"\x01", siblings[0], siblings[1], digest, siblings[2]))
        else:
            digest = sha256(concat(b"\x01", siblings[0], siblings[1], siblings[2], digest))
        at = at >> 2
    self._must(at == 0, "path")
    return digest


@internal
@pure
def _address(a: uint256, b: uint256, c: uint256) -> address:
    return convert(convert(a << 104 | b << 48 | c, uint160), address)


@external
@nonreentrant
def withdraw(
    number: uint256,
    summary: Summary,
    length: uint256,
    place: uint256,
    leaf: Bytes[256],
    path: DynArray[bytes32[3], DEPTH_MAX],
):
    """
    @notice Pay one withdrawal of a finalized batch. `place` counts events of 64 bytes in the
            batch's stream of withdrawals, `leaf` holds it, padded with zeros to 256 bytes.
    """
    self._must(number <= (self.head >> 64) & M64, "not final")
    self._check(number, summary)
    self._must(len(leaf) == 256 and length < M64, "leaf")
    self._must(place * 64 < length, "place")
    levels: uint256 = 0
    width: uint256 = (length + 255) // 256
    for i: uint256 in range(DEPTH_MAX):
        if width <= 1:
            break
        width = (width + 3) // 4
        levels += 1
    self._must(len(path) == levels, "path")
    node: bytes32 = self._climb(leaf, place // 4, path)
    size: bytes8 = convert(convert(self._turn(length) & M64, uint64), bytes8)
    root: bytes32 = sha256(
        concat(b"\x03", b"withdrawals\x00\x00\x00\x00\x00", size, node)
    )
    self._must(root == summary.withdrawals_root, "root")
    offset: uint256 = (place & 3) * 64
    left: uint256 = self._turn(convert(slice(leaf, offset, 32), uint256))
    right: uint256 = self._turn(convert(slice(leaf, offset + 32, 32), uint256))
    self._must((left >> 192) & 255 == EVENT_WITHDRAWN, "event")
    index: uint256 = (left >> 64) & M64
    atoms: uint256 = left & M64
    asset: uint256 = right >> 224
    to: address = self._address((right >> 128) & M64, (right >> 64) & M64, right & M64)
    bits: uint256 = self.claimed[index >> 8]
    self._must((bits >> (index & 255)) & 1 == 0, "claimed")
    self.claimed[index >> 8] = bits | 1 << (index & 255)
    log Withdrawn(index=index, to=to, asset=asset, atoms=atoms)
    self._pay(asset, to, atoms)


# The way out


@internal
@view
def _check_final(summary: Summary):
    self._check((self.head >> 64) & M64, summary)


@external
def freeze(final: Summary, queue_hash: bytes32, time: uint256):
    """
    @notice Anyone, once an item has waited for `FREEZE_AFTER_S` without a *finalized* batch that
            consumed it. There is no way back.
    """
    self._must(not self.frozen, "frozen")
    self._check_final(final)
    self._must(final.l1_messages < self.queue_length, "no item")
    self._must(self.queue[final.l1_messages] == self._slot(queue_hash, time), "item")
    self._must(block.timestamp > time + FREEZE_AFTER_S, "early")
    self.frozen = True
    finalized: uint256 = (self.head >> 64) & M64
    self.head = finalized << 64 | finalized
    log Frozen(finalized=finalized)


@external
@nonreentrant
def exit(
    final: Summary,
    account: uint256,
    asset: uint256,
    regions: Bytes[11475],
    account_leaf: Bytes[256],
    account_path: DynArray[bytes32[3], DEPTH_MAX],
    balance_leaf: Bytes[256],
    balance_path: DynArray[bytes32[3], DEPTH_MAX],
):
    """
    @notice Pay what an account has, available and locked, in the last finalized state, once for
            each account and asset. `regions`: the table under the state root, 45 bytes each, the
            ledger first.
    """
    self._must(self.frozen, "not frozen")
    self._check_final(final)
    self._must(len(account_leaf) == 256 and len(balance_leaf) == 256, "leaf")
    # Behind the accounts lie session keys, behind the balances order tables: words that users
    # choose. And two accounts must not share a balance.
    self._must(account < ACCOUNTS_MAX, "account")
    self._must(asset < ASSETS_MAX, "asset")
    record: uint256 = account * ASSETS_MAX + asset
    count: uint256 = len(regions) // 45
    self._must(count > 0 and count * 45 == len(regions), "regions")
    # Fewer than 256 regions, so the little-endian u32 has one byte that is not zero.
    size: bytes4 = convert(convert(count << 24, uint32), bytes4)
    root: bytes32 = sha256(concat(b"\x02rialto/state", LAYOUT_VERSION, size, regions))
    self._must(root == final.post_state_root, "root")
    self._must(convert(slice(regions, 0, 4), bytes4) == 0x00000000, "ledger")
    depth: uint256 = convert(slice(regions, 12, 1), uint256)
    top: bytes32 = convert(slice(regions, 13, 32), bytes32)
    self._must(len(account_path) == depth and len(balance_path) == depth, "depth")
    self._must(self._climb(account_leaf, ACCOUNTS_LEAF + account, account_path) == top, "account")
    self._must(self._climb(balance_leaf, BALANCES_LEAF + record // 4, balance_path) == top, "balance")
    who: uint256 = self._turn(convert(slice(account_leaf, 0, 32), uint256))
    to: address = self._address(who >> 192, (who >> 128) & M64, (who >> 64) & M64)
    self._must(to != empty(address), "account")
    self._must(not self.exited[account][asset], "exited")
    self.exited[account][asset] = True
    words: uint256 = self._turn(convert(slice(balance_leaf, (record & 3) * 64, 32), uint256))
    atoms: uint256 = (words >> 192) + ((words >> 128) & M64)
    log Exited(account=account, to=to, asset=asset, atoms=atoms)
    self._pay(asset, to, atoms)


@external
@nonreentrant
def refund(
    final: Summary, index: uint256, before: bytes32, time: uint256, owner: address,
    asset: uint256, atoms: uint256,
):
    """
    @notice Pay back a deposit that the last finalized state has not seen. `before` is the queue
            hash in front of it.
    """
    self._must(self.frozen, "not frozen")
    self._check_final(final)
    self._must(index >= final.l1_messages and index < self.queue_length, "index")
    queue_hash: bytes32 = self._queue_hash(before, self._deposit_rows(index, owner, asset, atoms))
    self._must(self.queue[index] == self._slot(queue_hash, time), "item")
    self._must(not self.refunded[index], "refunded")
    self.refunded[index] = True
    log Refunded(index=index, to=owner)
    self._pay(asset, owner, atoms)


# Who may


@internal
def _set_committee(members: DynArray[address, 64]):
    self._must(len(members) > 0, "members")
    last: uint256 = 0
    for member: address in members:
        # Ascending, so no key counts twice.
        self._must(convert(member, uint256) > last, "members")
        last = convert(member, uint256)
    self.epoch += 1
    self.committee = keccak256(abi_encode(members))
    log CommitteeChanged(epoch=self.epoch, committee=self.committee, members=members)


@external
def change_committee(members: DynArray[address, 64], signed: Signatures):
    """
    @notice By certificate: more than two thirds of the present committee sign the next one.
    """
    self._must(not self.frozen, "frozen")
    text: bytes32 = keccak256(
        abi_encode(
            keccak256(b"rialto/committee/1"), chain.id, self, self.epoch, keccak256(abi_encode(members))
        )
    )
    self._check_signatures(text, signed)
    self._set_committee(members)


@external
def schedule(action: bytes32):
    """
    @notice The governor announces what it will do; anyone who minds has `DELAY_S` to leave.
    """
    self._must(msg.sender == self.governor, "governor")
    self._must(self.scheduled[action] == 0, "scheduled")
    self.scheduled[action] = block.timestamp + DELAY_S
    log Scheduled(action=action, due=block.timestamp + DELAY_S)


@external
def cancel(action: bytes32):
    self._must(msg.sender == self.governor or msg.sender == self.guardian, "governor")
    self._must(self.scheduled[action] != 0, "scheduled")
    self.scheduled[action] = 0


@internal
def _take(action: bytes32):
    due: uint256 = self.scheduled[action]
    self._must(due != 0, "scheduled")
    self._must(block.timestamp >= due, "delay")
    self.scheduled[action] = 0


@internal
def _list(number: uint256, token: address, scale: uint256):
    self._must(number < ASSETS_MAX, "asset")
    self._must(scale > 0 and scale <= 10**18, "scale")
    self._must(self.assets[number].numbers == 0, "asset")
    self.assets[number] = Asset(token=token, numbers=scale)
    log AssetListed(asset=number, token=token, scale=scale)


@external
def list_asset(number: uint256, token: address, scale: uint256):
    self._take(keccak256(abi_encode("list", number, token, scale)))
    self._list(number, token, scale)


@external
def set_committee(members: DynArray[address, 64]):
    self._take(keccak256(abi_encode("committee", keccak256(abi_encode(members)))))
    self._set_committee(members)


@external
def set_roles(guardian: address, governor: address):
    self._must(guardian != empty(address) and governor != empty(address), "roles")
    self._take(keccak256(abi_encode("roles", guardian, governor)))
    self.guardian = guardian
    self.governor = governor


@external
@nonreentrant
def collect_fees():
    amount: uint256 = self.fees
    self.fees = 0
    raw_call(self.governor, b"", value=amount)


@external
@view
def committed() -> uint256:
    return self.head & M64


@external
@view
def finalized() -> uint256:
    return (self.head >> 64) & M64


@external
@view
def asset(number: uint256) -> (address, uint256, uint256, uint256):
    """
    @notice Token (zero: ether), scale (0: not listed), atoms held, atoms ever deposited.
    """
    one: Asset = self.assets[number]
    return one.token, one.numbers & M64, (one.numbers >> 64) & M64, one.numbers >> 128
