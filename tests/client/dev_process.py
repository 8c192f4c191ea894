"""A real `rialto dev` process for tests: started, killed, started again on the same port.

What lives here: the process and where it is reached. What must never live here: an expectation.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DevProcess:
    """One dev chain; `port` stays the same over restarts."""

    def __init__(
        self, data_dir: Path | None = None, log: Path | None = None, *, has_l1: bool = False
    ) -> None:
        self._data_dir = data_dir
        self._log = log
        self._has_l1 = has_l1
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.facts: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "node.cli", "dev", "--json"]
        command += ["--rpc", f"127.0.0.1:{self.port}"]
        l1_port = self.facts.get("l1", 0)
        command += ["--l1-rpc", f"127.0.0.1:{l1_port}"] if self._has_l1 else ["--no-l1"]
        if self._data_dir is not None:
            command += ["--data-dir", str(self._data_dir)]
        log = self._log.open("ab") if self._log else subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"rialto dev ended at once, with {self._process.wait()}"
        self.facts = json.loads(line)
        self.port = self.facts["rpc"]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self._process is not None
        os.kill(self._process.pid, how)
        code = self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def end(self) -> None:
        if self._process is not None:
            self.stop(signal.SIGKILL)


@contextmanager
def dev_process(
    data_dir: Path | None = None, log: Path | None = None, *, has_l1: bool = False
) -> Iterator[DevProcess]:
    """A started dev chain that does not outlive the test."""
    process = DevProcess(data_dir, log, has_l1=has_l1)
    try:
        process.start()
        yield process
    finally:
        process.end()
