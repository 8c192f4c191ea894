"""The naive twin: the whole exchange in plain Python objects, slow and obvious.

What lives here: groups and the order of their checks, the door of operations, the block's
housekeeping, as `docs/protocol/{commands,matching,blocks}.md` state them. What must never live
here, nor in the other `naive` modules: an import from the compiled core. Two readings of the same
documents that share code would agree on the same mistake.

Theory. Every test that compares the core with the twin compares two things: the events, byte for
byte, and the memory image (`pack`), byte for byte. One rule of a block is missing here on purpose:
`BLOCK_FULL` (4012) counts dirty leaves, which only a memory has.
"""

from collections.abc import Callable
from struct import iter_unpack, unpack
from typing import Final

from consensus.accounts.naive import (
    DAY_MS,
    SWEEP_ORDERS,
    VISITS_MAX,
    Account,
    Key,
    Ledger,
    address_of,
)
from consensus.matching import naive_ledger, naive_orders
from consensus.matching import naive_numbers as n
from consensus.matching.naive_audit import audit
from consensus.matching.naive_book import Venue
from consensus.matching.naive_numbers import Refused, Row
from consensus.matching.naive_orders import Actor
from consensus.matching.naive_rows import may, well_formed
from consensus.state.naive import address_words, pack

ROW_BYTES: Final = 64
GROUP_MAX: Final = 64  # operations
NONCES: Final = 1 << 53
SCHEDULES_PER_BLOCK: Final = 64
MESSAGES: Final = 1  # phase of L1 messages
KINDS: Final = (0, 1, 2, 3, 4, n.KEY_GOVERNANCE, n.KEY_DEPOSIT, n.KEY_FORCED)
FROM_L1: Final = (n.KEY_DEPOSIT, n.KEY_FORCED)

COMMANDS: Final[dict[int, Callable[[Venue, Actor, Row], None]]] = {
    n.PLACE: naive_orders.place,
    n.AMEND: naive_orders.amend,
    n.CANCEL: naive_orders.cancel,
    n.CANCEL_CLIENT: naive_orders.cancel_client,
    n.CANCEL_ALL: naive_orders.cancel_all,
    n.TRANSFER: naive_ledger.transfer,
    n.WITHDRAW: naive_ledger.withdraw,
    n.GRANT: naive_ledger.grant,
    n.REVOKE: naive_ledger.revoke,
    n.DEAD_MAN: naive_ledger.dead_man,
    n.SETTINGS: naive_ledger.settings,
    n.DEPOSIT: naive_ledger.deposit,
    n.LIST_ASSET: naive_ledger.list_asset,
    n.LIST_MARKET: naive_ledger.list_market,
    n.FEES: naive_ledger.fees,
    n.MARKET_STATUS: naive_ledger.market_status,
    n.CHAIN_STATUS: naive_ledger.chain_status,
    n.VALIDATORS: naive_ledger.validators,
    n.PARAMETER: naive_ledger.parameter,
    n.TIER: naive_ledger.tier,
    n.MARKET_LIMITS: naive_ledger.market_limits,
    n.GOVERNOR: naive_ledger.governor,
}


class Exchange:
    """The exchange from genesis on. Addresses are 20 bytes, times are Unix milliseconds."""

    def __init__(
        self,
        *,
        assets_max: int,
        markets_max: int,
        accounts_max: int,
        table_slots: int,
        parameters: list[int],
        governor: bytes,
        fee_owner: bytes,
        time: int,
    ) -> None:
        key = Key(address=int.from_bytes(governor, "big"), live=True)
        ledger = Ledger(
            assets_max, markets_max, accounts_max, table_slots, list(parameters), key, time
        )
        ledger.make_account(int.from_bytes(fee_owner, "big"))
        self.ledger = ledger
        self.venue = Venue(ledger)

    @property
    def events(self) -> bytearray:
        """The events since the block was opened or they were last taken, 64 bytes each."""
        return self.venue.events

    def take_events(self) -> bytes:
        """Return the events and forget them."""
        taken = bytes(self.venue.events)
        self.venue.events.clear()
        return taken

    def open_block(self, height: int, time: int, l1_number: int) -> None:
        self.ledger.height, self.ledger.time = height, time
        self.ledger.l1_origin = l1_number
        self.venue.events.clear()

    def execute(self, rows: bytes, phase: int) -> int:
        """Execute groups in order; return 0, or the 40xx number of the first not includable.

        `phase` is 1 among the L1 messages of a block and 2 among its commands.
        """
        whole = len(rows) // ROW_BYTES * ROW_BYTES
        words: list[Row] = list(iter_unpack("<8q", memoryview(rows)[:whole]))
        at = 0
        while at < len(words):
            header = words[at]
            count = header[0] >> 8 & 255
            group = words[at + 1 : at + 1 + count]
            fault = self._group_fault(header, len(group), phase)
            if fault:
                return fault
            self._run_group(header, group)
            at += 1 + count
        return n.GROUP_SHAPE if whole != len(rows) else 0

    def operate(self, row: bytes) -> None:
        """Execute one governance or deposit row as key 253 or 254 would, without a group."""
        words: Row = unpack("<8q", row)
        deposit = words[0] & 255 == n.DEPOSIT
        signer = address_of(words[1:4]) if deposit else None
        kind = n.KEY_DEPOSIT if deposit else n.KEY_GOVERNANCE
        self._operate(self._actor(kind, 0, signer or 0, self.ledger.l1_messages), words)

    def housekeeping(self) -> None:
        """Run the switches that are due, then the sweep of one market."""
        self._run_schedules()
        self._sweep()

    def pack(self) -> bytes:
        """Return the memory image: the ledger region, then the markets', little-endian words."""
        return pack(self.ledger, self.venue.markets)

    def check(self) -> None:
        """Raise AssertionError, naming what broke, if the state contradicts itself."""
        audit(self.venue)

    # Groups

    def _group_fault(self, header: Row, rows: int, phase: int) -> int:
        head, account, nonce, expires, high, middle, low, zero = header
        kind, count = head >> 16 & 255, head >> 8 & 255
        words = high, middle, low
        l1 = kind in FROM_L1
        shaped = (
            head == count << 8 | kind << 16
            and 1 <= count <= GROUP_MAX
            and rows == count
            and kind in KINDS
            and (l1 or 0 < nonce < NONCES)
            and (not l1 or expires == 0)
            and (kind != n.KEY_DEPOSIT or count == 1)
            and zero == 0
        )
        if not shaped:
            return n.GROUP_SHAPE
        if l1 != (phase == MESSAGES):
            return n.PHASE
        if l1:
            if nonce != self.ledger.l1_messages:
                return n.L1_ORDER
            return 0 if account == self._low_neighbour(words) else n.HINT
        if kind == n.KEY_GOVERNANCE:
            known = account == 0
        else:
            known = 1 <= account < len(self.ledger.accounts)
        if not known:
            return n.ACCOUNT_UNKNOWN
        signer = address_of(words)
        fault = self._key_fault(self._key(kind, account), kind, signer, nonce, expires)
        if fault or kind == n.KEY_GOVERNANCE:
            return fault
        tokens = self.ledger.tokens_of(self.ledger.accounts[account])
        return 0 if tokens >= 1000 * count else n.RATE

    def _low_neighbour(self, words: Row) -> int | None:
        """Return the account with the largest address not above `words`, whatever these are."""
        below = [
            (address_words(address), account)
            for address, account in self.ledger.by_address
            if address_words(address) <= words
        ]
        return max(below)[1] if below else None

    def _key(self, kind: int, account: int) -> Key:
        if kind == n.KEY_GOVERNANCE:
            return self.ledger.governor
        owner = self.ledger.accounts[account]
        return owner.owner if kind == n.KEY_OWNER else owner.sessions[kind - 1]

    def _key_fault(self, key: Key, kind: int, signer: int | None, nonce: int, expires: int) -> int:
        now = self.ledger.time
        if not key.live:
            return n.KEY_UNKNOWN
        if 1 <= kind <= 4 and now >= key.expires:
            return n.KEY_EXPIRED
        if signer != key.address:
            return n.SIGNER
        if expires <= now:
            return n.GROUP_EXPIRED
        if expires > now + DAY_MS:
            return n.GROUP_FAR
        return key.nonce_fault(nonce)

    def _run_group(self, header: Row, group: list[Row]) -> None:
        kind, account, nonce = header[0] >> 16 & 255, header[1], header[2]
        signer = address_of(header[4:7])
        signer = -1 if signer is None else signer  # words of no address: nobody's
        if kind in FROM_L1:
            self.ledger.l1_messages += 1
        else:
            self._key(kind, account).spend_nonce(nonce)
        if kind <= 4:
            payer = self.ledger.accounts[account]
            payer.tokens = self.ledger.tokens_of(payer) - 1000 * len(group)
            payer.refilled = self.ledger.time
        actor = self._actor(kind, account, signer, nonce)
        for row in group:
            self._operate(actor, row)

    def _actor(self, kind: int, account: int, signer: int, l1_index: int) -> Actor:
        who: Account = self.ledger.accounts[account]
        if kind in FROM_L1:
            who = self.ledger.account_at(signer) or self.ledger.accounts[0]
        session = who.sessions[kind - 1] if 1 <= kind <= 4 else None
        return Actor(who, session, kind, signer, l1_index)

    # Operations

    def _operate(self, actor: Actor, row: Row) -> None:
        self.ledger.sequence += 1
        op = row[0] & 255
        try:
            n.require(actor.kind != n.KEY_FORCED or actor.account.index > 0, n.UNKNOWN_ACCOUNT)
            n.require(op in COMMANDS and row[0] >> 48 == 0, n.MALFORMED)
            n.require(may(actor.kind, op), n.NOT_ALLOWED)
            n.require(well_formed(row, actor.signer, self.ledger.table_slots), n.MALFORMED)
            COMMANDS[op](self.venue, actor, row)
        except Refused as refused:
            self.venue.emit(
                n.EVENT_REFUSED,
                (actor.account.index, row[1], row[2], row[3], row[4], row[5]),
                reason=refused.number,
                flags=op,
            )

    # Between a block's messages and its commands

    def _run_schedules(self) -> None:
        ledger, finished, index = self.ledger, 0, 0
        removable = ledger.parameters[VISITS_MAX]
        while index < len(ledger.schedules) and finished < SCHEDULES_PER_BLOCK:
            schedule = ledger.schedules[index]
            if schedule.due > ledger.time:
                index += 1
                continue
            table = ledger.accounts[schedule.account].table
            slots = sorted(table)
            for slot in slots[:removable]:
                market_number, pool_slot = table[slot]
                market = self.venue.markets[market_number]
                self.venue.remove(market, market.pool[pool_slot], n.DEADMAN)
            walked = len(slots) < removable or slots[removable - 1 :] == [ledger.table_slots - 1]
            if removable == 0 or not walked:
                return
            removable -= len(slots)
            ledger.disarm(index)
            finished += 1

    def _sweep(self) -> None:
        ledger, markets = self.ledger, self.venue.markets
        if not markets or ledger.parameters[SWEEP_ORDERS] == 0:
            return
        market = markets[ledger.sweep_market]
        ledger.sweep_market = (ledger.sweep_market + 1) % len(markets)
        end = min(market.sweep + ledger.parameters[SWEEP_ORDERS], 1 << market.pool_bits)
        for slot in range(market.sweep, end):
            order = market.pool.get(slot)
            if order is not None and order.expires <= ledger.time:
                self.venue.remove(market, order, n.BY_EXPIRY)
        market.sweep = end if end < 1 << market.pool_bits else 1
