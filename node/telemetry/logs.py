"""The log: one event a line, with time, level, height, and the peer where there is one.

What lives here: the form of a line. What must never live here: what is worth a line.

Whoever logs uses `logging` and gives facts by name, `log.warning("...", extra={"peer": peer})`;
libraries log the same way, so one handler writes everything. `--log-format json` is for machines.
"""

import logging
import sys
from collections.abc import Callable
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)


class Heights:
    """Where the lines get their height from, once there is a chain."""

    def __init__(self) -> None:
        self.read: Callable[[], int] | None = None

    def add(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        if self.read is not None:
            line.setdefault("height", self.read())
        return line


HEIGHTS: Final = Heights()
"""Of this process: logging is one per process, and so is the node."""


def formatter(form: str, heights: Heights) -> logging.Formatter:
    """Lines of this form for records of `logging`."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        heights.add,
    ]
    last: Processor = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    if form == JSON:
        last = structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            last,
        ],
    )


def configure(form: str = TEXT, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write the log of this process to `stream` (standard error) in this form."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(form, HEIGHTS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("libp2p").setLevel(logging.ERROR)
