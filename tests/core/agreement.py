"""One seeded run of all executors side by side, compared after every group and every block.

What lives here: the comparisons, and the count of what the run reached. What must never live here:
what a row means.

`BLOCK_FULL` counts dirty leaves, which the naive twin does not have: a group that is refused by
that number is compared between the core and the C only, and the twin is not asked.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from core_rows import ROW_BYTES
from exchange_view import ExchangeView
from executors import Core, Executor, GeneratedC, Twin
from random_groups import MESSAGES, RandomGroups, Sent
from venues import CROWD, Venue

from consensus import layout
from consensus.state import snapshot
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree

REBUILD_EVERY: Final = 4  # blocks; the rebuilt root costs as much as the block
SNAPSHOT_EVERY: Final = 40
UNDO_SHARE: Final = 0.1

Reached = Counter[tuple[str, int | str]]


class Disagreement(AssertionError):
    """Two executions of the same rows differ; the text says where, and how to repeat it."""


@dataclass
class Run:
    """A run over one venue. `modes` are the modes of the generated C to run beside."""

    venue: Venue
    seed: int
    modes: Sequence[str] = ()
    with_twin: bool = True
    reached: Reached = field(default_factory=Counter)
    messages: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.view = ExchangeView(self.venue)
        self.groups = RandomGroups(self.venue, self.view, self.chance)
        self.core = Core(self.venue)
        self.others: list[Executor] = [Twin(self.venue)] if self.with_twin else []
        self.generated = [GeneratedC(self.venue, mode) for mode in self.modes]
        self.others += self.generated
        self.block_calls: list[tuple[bytes, int]] = []
        self.block_events: list[bytes] = []
        self.opened = (0, 0, 0)

    def fail(self, text: str) -> None:
        where = f"venue {self.venue.name}, seed {self.seed}, block {self.blocks}"
        raise Disagreement(f"{text}; {where}, message {self.messages}")

    def play(self, messages: int) -> None:
        """Run blocks until `messages` operations were sent."""
        self._compare_images()
        if self.venue is CROWD:
            self._block(self._crowd())
        while self.messages < messages:
            self._block(self._some_groups())

    def _crowd(self) -> Iterator[Sent]:
        for account in self.view.traders:
            yield self.groups.arming(account)

    def _some_groups(self) -> Iterator[Sent]:
        for _ in range(self.chance.randrange(4)):
            yield self.groups.message()
        for _ in range(self.chance.randrange(90)):
            yield self.groups.command()

    def _block(self, groups: Iterator[Sent]) -> None:
        self.blocks += 1
        self.opened = self.groups.next_block()
        before = self.core.image()
        self.block_calls, self.block_events = [], []
        for executor in (self.core, *self.others):
            executor.open_block(*self.opened)
        kept = False
        for sent in groups:
            if sent.phase != MESSAGES and not kept:
                self._housekeeping()
                kept = True
            self._execute(sent)
        if not kept:
            self._housekeeping()
        self._note_fullness()
        self._compare_images()
        if self.chance.random() < UNDO_SHARE:
            self._undo_and_repeat(before)
        self._seal()

    def _housekeeping(self) -> None:
        events = self.core.housekeeping()
        for other in self.others:
            self._same_events(other, events, other.housekeeping(), b"")
        self.block_calls.append((b"", 0))
        self.block_events.append(events)
        for event in self.view.hear_housekeeping(events):
            self.reached["event", event.kind] += 1
            self.reached["reason", event.reason] += 1
            name = "switch" if event.reason == layout.REASON_DEADMAN else "sweep"
            self.reached["case", name] += 1

    def _execute(self, sent: Sent) -> None:
        self.messages += len(sent.rows) // ROW_BYTES - 1
        fault, events = self.core.execute(sent.rows, sent.phase)
        for other in self.others:
            if fault == layout.BLOCK_FULL and isinstance(other, Twin):
                continue
            code, theirs = other.execute(sent.rows, sent.phase)
            if code != fault:
                self.fail(f"core says {fault}, {other.name} says {code}: {sent.rows.hex()}")
            self._same_events(other, events, theirs, sent.rows)
        if fault:
            self.reached["fault", fault] += 1
            return
        self.block_calls.append((sent.rows, sent.phase))
        self.block_events.append(events)
        if sent.key is not None:
            sent.key.spend(sent.nonce)
        else:
            self.view.l1_messages += 1
        self._count(sent, events)

    def _count(self, sent: Sent, events: bytes) -> None:
        for op, event in self.view.learn(sent.rows, events, sent.kind):
            self.reached["event", event.kind] += 1
            if event.kind == layout.EVENT_REFUSED:
                self.reached["refusal", event.reason] += 1
                continue
            self.reached["operation", op] += 1
            if event.reason:
                self.reached["reason", event.reason] += 1
            if event.kind == layout.EVENT_RESTED:
                self._note_price(event.market, event.words[1])
            if event.kind == layout.EVENT_TRADE and event.flags & 2:
                self.reached["case", "iceberg shows its next slice"] += 1
            if op == layout.OP_AMEND and event.kind == layout.EVENT_REDUCED:
                self.reached["case", "amend in place"] += 1
            if op == layout.OP_AMEND and event.kind == layout.EVENT_RESTED:
                self.reached["case", "amend goes to the back"] += 1
            if op == layout.OP_AMEND and event.kind == layout.EVENT_TRADE:
                self.reached["case", "amend takes"] += 1

    def _note_price(self, market: int, price: int) -> None:
        if market < len(self.venue.markets):
            top = (1 << self.venue.markets[market].price_bits) - 2
            if price in (1, top):
                self.reached["case", "rests at the low end" if price == 1 else "at the top"] += 1

    def _note_fullness(self) -> None:
        M = self.core.memory.M
        for region in regions_of(M)[1:]:
            k = region.base
            if M[k + 2] + M[k + 3] == M[k + layout.BOOK_POOL_MAX] - 1:
                self.reached["case", "full pool"] += 1
            if M[k + layout.BOOK_PAGES] == M[k + layout.BOOK_PAGES_MAX] - 1:
                self.reached["case", "full pages"] += 1
        if M[layout.ACCOUNTS] == M[layout.ACCOUNTS_MAX]:
            self.reached["case", "full accounts"] += 1

    def _same_events(self, other: Executor, ours: bytes, theirs: bytes, rows: bytes) -> None:
        if ours != theirs:
            pairs = zip(
                [ours[i : i + 64] for i in range(0, len(ours), 64)],
                [theirs[i : i + 64] for i in range(0, len(theirs), 64)],
                strict=False,
            )
            n = next((n for n, (a, b) in enumerate(pairs) if a != b), -1)
            mine = memoryview(ours).cast("q").tolist()[8 * n : 8 * n + 8]
            his = memoryview(theirs).cast("q").tolist()[8 * n : 8 * n + 8]
            self.fail(f"event {n}: core {mine}, {other.name} {his}, rows {rows.hex()}")

    def _compare_images(self) -> None:
        ours = self.core.image()
        for other in self.others:
            self._same_image(f"core, {other.name}", ours, other.image())
        self._compare_funds(ours)

    def _same_image(self, who: str, ours: bytes, theirs: bytes) -> None:
        if ours != theirs:
            a, b = memoryview(ours).cast("q"), memoryview(theirs).cast("q")
            words = [(n, a[n], b[n]) for n in range(min(len(a), len(b))) if a[n] != b[n]][:8]
            self.fail(f"{who}: images of {len(a)} and {len(b)} words, (word, one, other): {words}")

    def _compare_funds(self, image: bytes) -> None:
        words = memoryview(image).cast("q")
        at, wide = words[layout.AT_BALANCES], words[layout.ASSETS_MAX] * 8
        accounts = words[layout.ACCOUNTS]
        for asset in range(words[layout.ASSETS]):
            first, last = at + asset * 8, at + accounts * wide
            held = sum(words[first:last:wide]) + sum(words[first + 1 : last : wide])
            record = layout.AT_ASSETS + asset * 16
            supply = words[record + layout.ASSET_DEPOSITED] - words[record + layout.ASSET_WITHDRAWN]
            if held != supply or min(words[first:last:wide]) < 0:
                self.fail(f"asset {asset}: accounts hold {held}, the supply is {supply}")

    def _undo_and_repeat(self, before: bytes) -> None:
        after = self.core.image()
        self.core.memory.undo()
        self._same_image("before the block, undone", before, self.core.image())
        self.core.open_block(*self.opened)
        calls = zip(self.block_calls, self.block_events, strict=True)
        for (rows, phase), events in calls:
            again = self.core.execute(rows, phase)[1] if rows else self.core.housekeeping()
            if again != events:
                self.fail("the undone block gives other events when repeated")
        self._same_image("the block, undone and repeated", after, self.core.image())
        self.reached["case", "undone and repeated"] += 1

    def _seal(self) -> None:
        memory = self.core.memory
        root = memory.seal()
        for generated in self.generated:
            generated.seal()
        if self.blocks % REBUILD_EVERY == 0:
            regions = regions_of(memory.M)
            tree = StateTree(regions, layout.LAYOUT_VERSION)
            tree.rebuild(memory.view())
            if tree.root() != root:
                self.fail("the incremental root is not the rebuilt one")
            if self.blocks % SNAPSHOT_EVERY == 0:
                none = sha256(b"").digest()
                facts = snapshot.Facts(layout.LAYOUT_VERSION, none, self.blocks, none, root)
                data = b"".join(snapshot.write(regions, memory.view(), facts))
                if bytes(snapshot.restore(data).memory) != self.core.image():
                    self.fail("a snapshot does not restore the image")
