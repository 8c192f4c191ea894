"""Hostile groups for a live state: forged handles, indexes, words, headers, and flipped bits.

What lives here: what an attacker makes of everything he can read: the whole state is public, so any
word that a user once chose may come back as a handle, an index or an amount. What must never live
here: an answer.

A record is one group of one operation, 128 bytes. The header of most records is in order, else the
rows behind it would never be looked at. Listings are left out: a market that is listed needs memory
beyond the regions, which the hostile runs take away (agreement runs list markets).
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

from agreement import Run
from core_rows import ROW, Address, group, wrapped
from random_groups import COMMANDS, DEPOSIT, FORCED, GOVERNANCE, MESSAGES
from random_rows import EDGES, RandomRows

from consensus import layout

SLOTS_AROUND: Final = range(-7, 8)
WORDS_KEPT: Final = 1 << 16
TEMPLATES: Final = 3_000
HALF: Final = 64  # bytes: the header of a record, and its row


class HostileRows:
    """Records against the state that `run` has reached, drawn from `chance`."""

    def __init__(self, run: Run, chance: random.Random) -> None:
        self.view, self.chance = run.view, chance
        self.rows = RandomRows(run.venue, run.view, chance)
        image = memoryview(run.core.image()).cast("q")
        self.live: Final = sorted(set(image.tolist()) - {0})
        self.slots: Final = [handle & layout.HANDLE_SLOT_MASK for _, handle in run.view.orders]
        self.headers: Final = self._headers()
        self.messages: Final = self._message_headers()
        self.words: Final = [self._word(len(image)) for _ in range(WORDS_KEPT)]
        self.templates: Final = [self._template() for _ in range(TEMPLATES)]

    def _headers(self) -> list[bytes]:
        """A header in order for every key that may sign now."""
        view, headers = self.view, []
        keys = [(0, GOVERNANCE, view.governor)] * 4
        keys += [(account, 0, view.owners[account]) for account in view.traders]
        keys += [(account, slot, key) for (account, slot), key in view.sessions.items()]
        for account, kind, key in keys:
            if key.live and key.expires > view.time:
                made = self._header(account, kind, key.address, key.highest + 1, view.time + 60_000)
                headers.append(made)
        return headers

    def _message_headers(self) -> list[bytes]:
        view = self.view
        return [
            self._header(account, kind, view.owners[account].address, view.l1_messages, 0)
            for account in view.traders
            for kind in (DEPOSIT, FORCED)
        ]

    @staticmethod
    def _header(account: int, kind: int, signer: Address, nonce: int, expires: int) -> bytes:
        row = bytes(HALF)
        made = group([row], account=account, signer=signer, nonce=nonce, expires=expires, key=kind)
        return made[:HALF]

    def _template(self) -> bytes:
        """A sensible record of any kind but a listing."""
        header = self.chance.choice(self.headers)
        if header[2] != GOVERNANCE:
            return header + self.rows.of_account(ROW.unpack(header)[1])
        row = self.rows.of_governance()
        return header + row if row[0] != layout.OP_LIST_MARKET else self._template()

    def _word(self, words: int) -> int:
        """One word that no honest client sends."""
        chance, live = self.chance, self.chance.choice(self.live)
        slot = self.chance.choice(self.slots) + chance.choice(SLOTS_AROUND)
        draw = chance.randrange(8)
        made = (
            live << 24 | slot & layout.HANDLE_SLOT_MASK,
            live + chance.randrange(-1, 2),
            -live,
            chance.choice(EDGES),
            chance.randrange(words) * chance.choice((1, 8, 32)),
            slot,
            -chance.randrange(1 << chance.randrange(1, 63)),
            chance.getrandbits(64),
        )[draw]
        return wrapped(made)

    def handles(self) -> Iterator[bytes]:
        """Cancels and amends of `word << 24 | slot - 7 .. slot + 7`, over every live word."""
        chance = self.chance
        tail, pack = bytes(40), ROW.pack
        heads = (3, 2, 2 | 1 << 28, 4, 3 | 1 << 32, 2 | 1 << 32)
        while True:
            for word in self.live:
                slot, high = chance.choice(self.slots), wrapped(word << 24)
                head, header = chance.choice(heads), chance.choice(self.headers)
                amends = head & 255 == layout.OP_AMEND
                for near in SLOTS_AROUND:
                    handle = high | slot + near & layout.HANDLE_SLOT_MASK
                    if amends:
                        yield header + pack(head, handle, slot, 1, 0, 0, 0, 0)
                    else:
                        yield header + pack(head, handle, 0, 0, 0, 0, 0, 0)[:24] + tail

    def bent_words(self) -> Iterator[bytes]:
        """A sensible record with one or two words of the row replaced."""
        chance, templates, words = self.chance, self.templates, self.words
        while True:
            record = bytearray(chance.choice(templates))
            for _ in range(chance.choice((1, 1, 2))):
                at = HALF + 8 * chance.randrange(1, 8)
                record[at : at + 8] = chance.choice(words).to_bytes(8, "little", signed=True)
            yield bytes(record)

    def flipped_bits(self) -> Iterator[bytes]:
        """A sensible record with one bit flipped, in its header or in its row."""
        chance, templates = self.chance, self.templates
        while True:
            number = int.from_bytes(chance.choice(templates), "little")
            yield (number ^ 1 << chance.randrange(1024)).to_bytes(128, "little")

    def command_words(self) -> Iterator[bytes]:
        """Every operation code with every kind of head word; the other words at random."""
        chance, words, pack = self.chance, self.words, ROW.pack
        while True:
            rest = chance.choices(words, k=7)
            for op in range(256):
                head = op | chance.choice((0, 1 << 8, 1 << 32, 65535 << 32, chance.choice(words)))
                if op != layout.OP_LIST_MARKET:
                    yield chance.choice(self.headers) + pack(wrapped(head), *rest)

    def forged_headers(self) -> Iterator[bytes]:
        """A header in order with one word replaced, before a sensible row."""
        chance, templates, words = self.chance, self.templates, self.words
        while True:
            record = bytearray(chance.choice(templates))
            at = 8 * chance.randrange(8)
            record[at : at + 8] = chance.choice(words).to_bytes(8, "little", signed=True)
            yield bytes(record)

    def bent_messages(self) -> Iterator[bytes]:
        """L1 messages with a word of header or row replaced."""
        chance, words = self.chance, self.words
        while True:
            record = bytearray(chance.choice(self.messages))
            if record[2] == DEPOSIT:
                signer = ROW.unpack(record)[4:7]
                record += ROW.pack(layout.OP_DEPOSIT, *signer, chance.randrange(3), 5, 0, 0)
            else:
                record += self.templates[chance.randrange(TEMPLATES)][HALF:]
            for _ in range(chance.choice((0, 1, 1, 2))):
                at = 8 * chance.randrange(16)
                record[at : at + 8] = chance.choice(words).to_bytes(8, "little", signed=True)
            yield bytes(record)

    def kinds(self) -> list[tuple[Callable[[], Iterator[bytes]], float, int]]:
        """(generator, share of all records, phase)."""
        return [
            (self.handles, 0.4, COMMANDS),
            (self.bent_words, 0.15, COMMANDS),
            (self.flipped_bits, 0.15, COMMANDS),
            (self.command_words, 0.1, COMMANDS),
            (self.forged_headers, 0.1, COMMANDS),
            (self.bent_messages, 0.08, MESSAGES),
            (self.bent_messages, 0.01, COMMANDS),
            (self.flipped_bits, 0.01, MESSAGES),
        ]
