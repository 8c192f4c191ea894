"""Deterministic wallets for recorded flows, and signatures in two threads.

What lives here: keys derived from a wallet's number, the session-key grant, signing and recovery
spread over threads. What it must never know: a recorded order, or a block.

Everybody can derive these keys: a chain that names them holds nothing of value. libsecp256k1 runs
outside the interpreter lock, so two threads halve the time of a batch; a chunk below 64 costs more
to hand over than it saves.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias, TypeVar

from consensus import commands
from consensus.commands import Group
from consensus.layout import KEY_OWNER, TIME_NEVER
from consensus.signatures import address_of, address_words, public_key_of, recover_many, sign

THREADS: Final = 2
CHUNK_MIN: Final = 64
SESSION_SLOT: Final = 1
CAP: Final = (1 << 62) - 1
FIRST_MARKET: Final = 1  # as a bitmap

Item = TypeVar("Item")
Result = TypeVar("Result")
Job: TypeAlias = tuple[bytes, bytes]


class Wallet(NamedTuple):
    """An owner and the one session key that trades for it."""

    owner_key: bytes
    owner: bytes
    session_key: bytes
    session: bytes

    def grant_group(self, account: int, expires_ms: int, quote: int) -> Group:
        """The owner's first group: the session key may trade in market 0 without end."""
        row = commands.grant(
            SESSION_SLOT,
            self.session,
            expires=TIME_NEVER,
            cap=CAP,
            markets=FIRST_MARKET,
            quote=quote,
        )
        return Group(KEY_OWNER, account, 1, expires_ms, address_words(self.owner), row)


def wallet(number: int) -> Wallet:
    """The wallet with this number, the same on every machine."""
    keys = [
        sha256(f"rialto/replay/{role}/{number}".encode("ascii")).digest()
        for role in ("owner", "session")
    ]
    owner, session = (address_of(public_key_of(key)) for key in keys)
    return Wallet(keys[0], owner, keys[1], session)


class Signatures:
    """Two threads that sign and recover. A context manager: leaving it ends the threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="signatures")

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def recover(self, pairs: Sequence[Job]) -> list[bytes | None]:
        """`recover_many` of (digest, signature) pairs, in order."""
        return self._spread(recover_many, pairs)

    def sign(self, jobs: Sequence[Job]) -> list[bytes]:
        """The signature for each (private key, digest), in order."""
        return self._spread(_sign_chunk, jobs)

    def _spread(
        self, work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]
    ) -> list[Result]:
        size = max(CHUNK_MIN, -(-len(items) // THREADS))
        chunks = [items[at : at + size] for at in range(0, len(items), size)]
        return [result for part in self._pool.map(work, chunks) for result in part]


def _sign_chunk(jobs: Sequence[Job]) -> list[bytes]:
    return [sign(key, digest) for key, digest in jobs]
