"""Random groups and blocks: who signs, with which nonce, in which phase, right or wrong.

What lives here: group headers around `random_rows`, and what a block holds. What must never live
here: an executor.
"""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from core_rows import Address, address, dead_man, group
from exchange_view import ExchangeView, Key
from random_rows import DAY_MS, MOODS, RandomRows
from venues import Venue

MESSAGES: Final = 1
COMMANDS: Final = 2
GOVERNANCE: Final = 253
DEPOSIT: Final = 254
FORCED: Final = 255


class Sent(NamedTuple):
    """A group; `nonce` is what it spends of `key` if it is executed."""

    rows: bytes
    phase: int
    kind: int
    nonce: int
    key: Key | None


class RandomGroups:
    """Groups for one exchange, right and wrong."""

    def __init__(self, venue: Venue, view: ExchangeView, chance: random.Random) -> None:
        self.venue, self.view, self.chance = venue, view, chance
        self.rows = RandomRows(venue, view, chance)

    def next_block(self) -> tuple[int, int, int]:
        """Height, time, L1 origin of the next block."""
        view = self.view
        view.height += 1
        wait = self.chance.randrange(1, 400)
        if self.chance.random() < 0.02:
            wait = DAY_MS
        if self.chance.random() < 0.1:
            self.rows.mood = self.chance.choice(MOODS)
        view.time += wait
        return view.height, view.time, view.height // 3

    def message(self) -> Sent:
        """A deposit or a forced group."""
        chance, view = self.chance, self.view
        known = chance.random() < 0.8
        account = chance.choice(view.traders)
        who = view.owners[account].address if known else self.rows.stranger()
        low = view.low_neighbour(who)
        nonce, phase = view.l1_messages, MESSAGES
        draw = chance.random()
        if draw < 0.03:
            low = (low + 1) % len(view.owners)
        elif draw < 0.04:
            low = chance.choice((-1, len(view.owners), 1 << 40))
        elif draw < 0.06:
            nonce += chance.choice((1, -1, 1 << 60))
        elif draw < 0.08:
            phase = COMMANDS
        if chance.random() < 0.6:
            to = who if chance.random() < 0.97 else self.rows.stranger()
            rows, kind = [self.rows.deposit(to)], DEPOSIT
        else:
            count = chance.choice((1, 1, 1, 3))
            rows, kind = [self.rows.of_account(account) for _ in range(count)], FORCED
        data = group(rows, account=low, signer=who, nonce=nonce, expires=0, key=kind)
        return Sent(self.bent(data), phase, kind, nonce, None)

    def command(self) -> Sent:
        """A signed group."""
        chance, view = self.chance, self.view
        if chance.random() < (0.5 if view.chain_halted else 0.06):
            return self.signed(0, GOVERNANCE, [self.rows.of_governance()])
        account = chance.choice(view.traders[: self.venue.funded])
        if chance.random() < 0.04:
            account = chance.choice(view.traders)
        kind = 0
        granted = [slot for slot in range(1, 5) if (account, slot) in view.sessions]
        if granted and chance.random() < 0.3:
            kind = chance.choice(granted)
        elif chance.random() < 0.01:
            kind = chance.randrange(1, 5)
        count = chance.choices((1, 2, 5, 64), (80, 14, 5, 1))[0]
        return self.signed(account, kind, [self.rows.of_account(account) for _ in range(count)])

    def arming(self, account: int) -> Sent:
        """A group that arms the account's switch."""
        return self.signed(account, 0, [dead_man(self.view.time + 1 + account)])

    def signed(self, account: int, kind: int, rows: Sequence[bytes]) -> Sent:
        chance, view = self.chance, self.view
        key = view.key_of(account, kind) or Key(address(0))
        signer: Address = key.address
        nonce = key.highest + 1
        expires = view.time + chance.randrange(1, 60_000)
        phase = COMMANDS
        draw = chance.random()
        if draw < 0.04:
            nonce += chance.choice((1, 2, 9, 300, 1 << 20))
        elif draw < 0.10:
            nonce = max(1, key.highest - chance.choice((1, 2, 9, 255, 256, 300)))
        elif draw < 0.11:
            nonce = key.highest + (1 << 20) + chance.choice((0, 1, 2))
        elif draw < 0.12:
            signer = (signer[0], signer[1], signer[2] ^ 1)
        elif draw < 0.13:
            expires = view.time - chance.randrange(2)
        elif draw < 0.14:
            expires = view.time + DAY_MS + chance.randrange(2)
        elif draw < 0.145:
            phase = MESSAGES
        elif draw < 0.15:
            account = chance.choice((0, len(view.owners), -1, 1 << 30, 5))
        data = group(rows, account=account, signer=signer, nonce=nonce, expires=expires, key=kind)
        return Sent(self.bent(data), phase, kind, nonce, key)

    def bent(self, data: bytes) -> bytes:
        """Now and then, a header of no legal shape."""
        chance = self.chance
        if chance.random() > 0.006:
            return data
        bent = bytearray(data)
        draw = chance.randrange(5)
        if draw == 0:
            return data[: max(64, len(data) - 64)]
        if draw == 4:
            bent[chance.choice((39, 46, 55))] ^= 1 << chance.randrange(8)
            return bytes(bent)
        if draw == 1:
            bent[chance.choice((0, 2, 3, 6, 56, 63))] ^= 1 << chance.randrange(8)
        elif draw == 2:
            bent[1] = chance.choice((0, 65, 255))
        else:
            bent[2] = chance.choice((5, 99, 252))
        return bytes(bent)
