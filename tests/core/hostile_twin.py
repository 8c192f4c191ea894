"""The generated C with the loop of hostile.c around it: millions of judged groups in seconds.

What lives here: building and calling it. What must never live here: a group.
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from executors import ENTRIES, LIBRARIES, ROOT

from consensus import layout
from node.ctwin import TRAPS, Bytes, CTwin, build

DRIVER: Final = Path(__file__).with_name("hostile.c")
RECORD_BYTES: Final = 128
CONSTANTS: Final = (
    "AT_ACCOUNTS", "SEQUENCE", "L1_MESSAGES", "L1_ORIGIN", "HEIGHT", "TIME", "KEY_NONCE",
    "KEY_SEEN", "KEY_DEPOSIT", "KEY_GOVERNANCE", "ACCOUNT_TOKENS", "ACCOUNT_REFILLED", "S_ACCOUNT",
    "S_DIRTY", "S_EVENT", "S_EVENTS", "S_FAULT", "S_IMAGES", "S_KEY", "S_KEY_AT", "S_LIST",
    "EVENT_CANCELED", "EVENT_REFUSED", "REASON_EXPIRED",
)  # fmt: skip
BOUNDS: Final = {
    "FAULT_FIRST": layout.NONCE_USED,
    "FAULT_LAST": layout.PHASE,
    "EVENT_LAST": layout.EVENT_SET,
    "REFUSAL_LAST": layout.NOT_ALLOWED,
}
BREACHES: Final = {
    101: "a fault of no number", 102: "a fault that left an event", 103: "a fault that wrote",
    104: "it stopped inside the group", 105: "an operation without an event",
    106: "an event of no kind", 107: "a refusal of no number", 108: "events after a refusal",
    109: "a refusal beside more than removals of the dead", 110: "a refusal that wrote",
}  # fmt: skip


class Breach(AssertionError):
    """The core did to a hostile group what it must not."""


def hostile_library(sources: Mapping[str, str] | None = None) -> Path:
    """The core (or these sources) in mode overflow with the driver around it."""
    values = {name: getattr(layout, name) for name in CONSTANTS} | BOUNDS
    words = ", ".join(f"{name} = {value}" for name, value in values.items())
    driver = f"\nenum {{ {words} }};\n{DRIVER.read_text(encoding='utf-8')}"
    return build(sources or ROOT, LIBRARIES, "overflow", entries=ENTRIES, extra_c=driver)


class HostileTwin:
    """One state without a word to spare: an index outside of the regions is outside of memory."""

    def __init__(
        self, image: bytes, scratch: bytes, sources: Mapping[str, str] | None = None
    ) -> None:
        self.image = image
        self._twin = CTwin(hostile_library(sources), image, scratch)

    def answers(self, records: bytes, phase: int) -> bytes:
        """Two bytes for each record (see hostile.c). Raises `Breach`."""
        answers = ctypes.create_string_buffer(len(records) // RECORD_BYTES * 2)
        reached = ctypes.c_int64()
        code = self._twin.library.rialto_hostile(
            self._twin.vec("M"),
            self._twin.vec("S"),
            Bytes(len(records), records),
            ctypes.c_int64(phase),
            answers,
            ctypes.byref(reached),
        )
        if code:
            at = reached.value * RECORD_BYTES
            record = records[at : at + RECORD_BYTES].hex()
            raise Breach(f"{BREACHES.get(code) or TRAPS[code]}: {record}")
        return answers.raw

    def is_unchanged(self) -> bool:
        """Whether every committed word is what it was; a store without a mark would show here."""
        return self._twin.memory("M").cast("B") == memoryview(self.image)
