"""One seeded run of all executors side by side, compared after every group and every block.

What lives here: the comparisons. What must never live here: what a row means, or what there is to
reach (`reached`).

`BLOCK_FULL` counts dirty leaves, which the naive twin does not have: a group that is refused by
that number is compared between the core and the C only, and the twin is not asked.

A failure names the command that repeats it: `python tests/core/agreement.py VENUE SEED MESSAGES`.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from core_rows import ROW_BYTES
from exchange_view import ExchangeView
from executors import Core, Executor, GeneratedC, Twin
from random_groups import MESSAGES, RandomGroups, Sent
from reached import Reached, count_group, count_housekeeping, table
from venues import CROWD, VENUES, Venue

from consensus import layout
from consensus.state import snapshot
from consensus.state.export import export, import_
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree

REBUILD_EVERY: Final = 4  # blocks; the rebuilt root costs as much as the block
SNAPSHOT_EVERY: Final = 40
UNDO_SHARE: Final = 0.1


class Disagreement(AssertionError):
    """Two executions of the same rows differ; the text says where, and how to repeat it."""


@dataclass
class Run:
    """A run over one venue. `modes` are the modes of the generated C to run beside.

    `groups_max` bounds the signed groups of a block. `every_root`: after every block the root four
    ways (see `_compare_roots`), instead of a rebuilt one now and then.
    """

    venue: Venue
    seed: int
    modes: Sequence[str] = ()
    with_twin: bool = True
    groups_max: int = 90
    every_root: bool = False
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
        names = ",".join(self.modes) or "none"
        twin = " twin" if self.with_twin else ""
        arguments = f"{self.venue.name} {self.seed} {self.messages + 1} {self.groups_max}"
        command = f"python tests/core/agreement.py {arguments} {names}{twin}"
        raise Disagreement(f"{text}; block {self.blocks}; repeat it: {command}")

    def play(self, messages: int) -> None:
        """Run blocks until `messages` operations were sent."""
        self.start()
        while self.messages < messages:
            self.block()

    def start(self) -> None:
        """Compare what genesis made; a crowd first arms its switches."""
        self._compare_images()
        if self.venue is CROWD:
            self._block(self._crowd())

    def block(self) -> None:
        """One random block."""
        self._block(self._some_groups())

    def _crowd(self) -> Iterator[Sent]:
        for account in self.view.traders:
            yield self.groups.arming(account)

    def _some_groups(self) -> Iterator[Sent]:
        for _ in range(self.chance.randrange(4)):
            yield self.groups.message()
        for _ in range(self.chance.randrange(self.groups_max)):
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
        count_housekeeping(self.reached, self.view.hear_housekeeping(events))
        M = self.core.memory.M
        first = layout.AT_SCHEDULES + layout.SCHEDULE_DUE
        due = (M[first + 8 * n] for n in range(M[layout.SCHEDULES]))
        if any(time <= M[layout.TIME] for time in due):
            self.reached["case", "switch left unfinished"] += 1

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
        before = self.view.sequence
        told = self.view.learn(sent.rows, events, sent.kind)
        count_group(self.reached, self.venue, sent.rows, told, before)

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
        if self.every_root:
            self._compare_roots(root)
        elif self.blocks % REBUILD_EVERY == 0:
            if self._rebuilt(memory.view()) != root:
                self.fail("the incremental root is not the rebuilt one")
            if self.blocks % SNAPSHOT_EVERY == 0:
                none = sha256(b"").digest()
                facts = snapshot.Facts(layout.LAYOUT_VERSION, none, self.blocks, none, root)
                data = b"".join(snapshot.write(regions_of(memory.M), memory.view(), facts))
                if bytes(snapshot.restore(data).memory) != self.core.image():
                    self.fail("a snapshot does not restore the image")

    def _rebuilt(self, image: bytes | memoryview) -> bytes:
        """The root of an image, from nothing but its words."""
        tree = StateTree(regions_of(memoryview(image).cast("q")), layout.LAYOUT_VERSION)
        tree.rebuild(image)
        return tree.root()

    def _compare_roots(self, root: bytes) -> None:
        """The incremental root is the rebuilt one, that of import(export), and the twin's."""
        memory = self.core.memory
        if self._rebuilt(memory.view()) != root:
            self.fail("the incremental root is not the rebuilt one")
        for other in self.others:
            if self._rebuilt(other.image()) != root:
                self.fail(f"{other.name} has another root")
        made = import_(export(memory))
        if made.tree.root() != root or made.view() != memory.view():
            self.fail("the export's import has another root or other words")


def main(arguments: Sequence[str]) -> None:
    """VENUE SEED MESSAGES [GROUPS_MAX [MODE,MODE|none [twin]]]: one run; print what it reached."""
    given = [*arguments, *("", "", "", "90", "plain", "")[len(arguments) :]]
    venue, seed, messages, groups_max, modes, twin = given
    chosen = () if modes == "none" else modes.split(",")
    run = Run(VENUES[venue], int(seed), chosen, twin == "twin", int(groups_max))
    run.play(int(messages))
    print(table(run.reached))


if __name__ == "__main__":
    main(sys.argv[1:])
