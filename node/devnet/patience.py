"""What a client does when a node can take no more at the moment: wait, bounded, and try again.

What lives here: for how long, and until when. What must never live here: sending, or patience with
a refusal that says something else.

Theory. A leader refuses when its inbox is full (7330), and when more than eight blocks wait for
their certificate (7331), which happens to validators on a busy machine. Both pass by themselves,
and the refused commands are untouched. But where the order of commands matters, a refusal in the
midst of many on their way must be avoided: a certificate that comes that moment lets later ones
through. So who waits begins at half of the leader's limit, before he is refused, and goes on only
once validators are within that half again.
"""

from collections.abc import Callable
from typing import Any, Final

import trio

from node.devnet.connection import Connection
from node.exceptions import NodeError
from node.roles.sequencer import BUSY, UNCERTIFIED, UNCERTIFIED_BLOCKS_AGAIN

IMPATIENT: Final = 7119

PASSES: Final = (BUSY, UNCERTIFIED)
"""Refusals that pass by themselves."""
AHEAD_BLOCKS_MAX: Final = UNCERTIFIED_BLOCKS_AGAIN
POLL_S: Final = 0.2
PAUSE_S: Final = 1.0
"""After a refusal; the node says "in a second"."""
WAIT_S_MAX: Final = 60
"""Without a single command taken."""


class Patience:
    """Run `watch` beside the sending; `calm` waits, `taken` says that it was worth it."""

    def __init__(self, leader: Connection, tell: Callable[[str], object]) -> None:
        """`tell` gets why we wait, and an empty text once it is over."""
        self._leader: Final = leader
        self._tell: Final = tell
        self._since: float | None = None
        self._refusal = ""
        self._ahead_blocks = 0
        self.waited_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the validators are so far behind that a refusal is near."""
        return self._ahead_blocks > AHEAD_BLOCKS_MAX

    def refused(self, error: dict[str, Any]) -> None:
        """A node said to try later."""
        self._refusal = f"{error['code']} {error['message']}"

    def taken(self) -> None:
        """A command has its place: the time starts anew."""
        self._since, self._refusal = None, ""

    async def watch(self) -> None:
        while True:
            await self._look()
            await trio.sleep(POLL_S)

    async def calm(self) -> None:
        """Return when the next command may be sent. Raises `NodeError` 7119 after a minute."""
        if not self.is_due and not self._refusal:
            return
        began = trio.current_time()
        self._since = began if self._since is None else self._since
        reason = self._refusal or f"{self._ahead_blocks} blocks are not certified"
        self._tell(f"waiting: {reason}")
        with trio.move_on_at(self._since + WAIT_S_MAX) as waiting:
            await trio.sleep(PAUSE_S if self._refusal else 0)
            await self._look()
            while self.is_due:
                await trio.sleep(POLL_S)
                await self._look()
        self.waited_s += trio.current_time() - began
        self._tell("")
        if waiting.cancelled_caught:
            text = f"{self._leader.url} took no command for {WAIT_S_MAX} s ({reason})"
            raise NodeError(IMPATIENT, f"{text}; are all validators running? see their logs")

    async def _look(self) -> None:
        status = await self._leader.call("chain_status")
        self._ahead_blocks = status["height"] - status["certified"]
