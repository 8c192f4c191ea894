"""The machine of a simulated node: its clock, its threads, its disk's pace and its death.

What lives here: `Machine` in simulated time. What must never live here: what is on the disk, or
when a fault is due.

Theory. Blocking work takes no simulated time by itself, and a loop that runs it at once would never
see what a thread sees: other tasks running between two writes of one piece of work. So disk work
runs in a thread that hands control back at every write, and is let go on after a pause of simulated
time. Only one of the loop and these threads runs at any moment: nothing is left to the real
scheduler. The journal and the rest of the disk take turns with each other write by write.
"""

import random
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

from storage.faults import Crashed, Faults

Result = TypeVar("Result")

START_MS: Final = 1_735_689_700_000
"""Unix time at the start of every simulation."""
PAUSE_S: Final = (0.0001, 0.001)
"""Of a healthy disk, per write."""
STEPPED: Final = 0.1
"""The part of the work that is run write by write; a hand-over costs more than most work."""


class SimulatedMachine:
    """`chance` is the source of everything random here. `crashed` is called once, by the write at
    which the power failed; the node's tasks are then to be cancelled, and none of its work goes on.
    """

    def __init__(
        self,
        chance: random.Random | None = None,
        *,
        skew_ms: int = 0,
        crashed: Callable[[], None] = lambda: None,
    ) -> None:
        self.chance: Final = chance or random.Random(0)
        self.skew_ms = skew_ms
        self.pause_s = PAUSE_S
        self.stepped = STEPPED
        self.faults: Final = SteppedFaults()
        self._crashed = crashed
        self._disk = trio.Lock()  # fair: the order of the calls
        self._journal = trio.Lock()
        self._is_dead = False

    def now_ms(self) -> int:
        return START_MS + self.skew_ms + round(trio.current_time() * 1000)

    def entropy(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    async def compute(self, work: Callable[[], Result]) -> Result:
        await trio.sleep(self.chance.uniform(0, 0.001))
        return work()

    async def disk(self, work: Callable[[], Result]) -> Result:
        return await self._written(self._disk, work)

    async def journal(self, work: Callable[[], Result]) -> Result:
        return await self._written(self._journal, work)

    async def _written(self, turn: trio.Lock, work: Callable[[], Result]) -> Result:
        await trio.lowlevel.checkpoint()
        async with turn:
            steps = Steps(work, self.faults)
            with trio.CancelScope(shield=True):
                await trio.sleep(self.chance.uniform(*self.pause_s))
                if self.chance.random() < self.stepped:
                    await self._step(steps)
                elif not self._is_dead:
                    steps.run()
            if isinstance(steps.error, Crashed) or self._is_dead:
                self.die()
                await trio.sleep_forever()
            return steps.result()

    async def _step(self, steps: "Steps[Result]") -> None:
        while not self._is_dead and steps.go_on():
            await trio.sleep(self.chance.uniform(*self.pause_s))
        steps.abandon()

    def die(self) -> None:
        """No work of this machine goes on."""
        if not self._is_dead:
            self._is_dead = True
            self._crashed()


class SteppedFaults(Faults):
    """Counts and spoils writes as `Faults` does; a write by a thread of `Steps` waits first."""

    def __init__(self) -> None:
        super().__init__()
        self.pause: Callable[[], None] | None = None

    def before(self) -> None:
        if self.pause is not None:
            self.pause()
        super().before()


class Steps(Generic[Result]):
    """One piece of work: all of it by `run`, or write by write by `go_on`."""

    def __init__(self, work: Callable[[], Result], faults: SteppedFaults) -> None:
        self._work = work
        self._faults = faults
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_abandoned = False
        self._is_done = False
        self._found: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """All of it."""
        with self:
            self._found.append(self._work())
        self._is_done = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """What the work raises is for whoever asks for its result."""
        self.error = error
        return True

    def go_on(self) -> bool:
        """Run to the next write or to the end; whether there is more to do."""
        if self._thread is None:
            self._go.acquire()
            self._back.acquire()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._faults.pause = self._pause
        self._go.release()
        self._back.acquire()
        self._faults.pause = None
        return not self._is_done

    def abandon(self) -> None:
        """End begun work inside its write."""
        self._is_abandoned = True
        while self._thread is not None and not self._is_done:
            self.go_on()

    def result(self) -> Result:
        if self.error is not None:
            raise self.error
        return self._found[0]

    def _pause(self) -> None:
        self._back.release()
        self._go.acquire()
        if self._is_abandoned:
            raise Crashed(0)

    def _run(self) -> None:
        self._go.acquire()
        self.run()
        self._back.release()
