"""What a person at the terminal is asked: a password, or whether to sign what is shown.

What lives here: questions, and the refusal where nobody can answer. What must never live here: what
is signed.
"""

import getpass
import sys
from pathlib import Path
from typing import Final

from node.exceptions import NodeError
from node.key_files import read_secret

NO_ANSWER: Final = 7850


def ask_password(file: Path | None, question: str) -> str:
    """From the file, or from the person. Raises `NodeError` 7360, 7850."""
    if file is not None:
        return read_secret(file).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise NodeError(NO_ANSWER, "nobody can be asked for a password here; give --password-file")
    return getpass.getpass(question)


def shows(lines: list[str]) -> bool:
    """Print the lines; the answer is yes."""
    print("\n".join(lines), file=sys.stderr)
    return True


def agrees(lines: list[str]) -> bool:
    """Print the lines and ask. Raises `NodeError` 7850 where nobody can be asked."""
    shows(lines)
    if not sys.stdin.isatty():
        raise NodeError(NO_ANSWER, "nobody can be asked here; read the lines above, give --yes")
    print("Sign this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
