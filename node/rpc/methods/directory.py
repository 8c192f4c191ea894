"""Markets and accounts by what people call them.

What lives here: from a name or an address to a number. What must never live here: what is asked
about it.
"""

from typing import Final

from consensus import layout
from consensus.chain import State
from consensus.signatures import address_words
from consensus.wording import Names
from node.rpc.dispatch import INVALID_PARAMS, RpcError
from node.rpc.operations import MarketName

UNKNOWN_ACCOUNT: Final = 7380
ACCOUNT_WORDS: Final = 32


class Directory:
    """Of one state. Markets and accounts are only ever added, so what was found is kept; an account
    that a block made which did not come to be is looked for again."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._numbers: dict[str, int] = {}
        self._accounts: dict[tuple[int, int, int], int] = {}

    def markets(self) -> dict[str, int]:
        """Numbers by name."""
        M = self._state.memory.M
        if len(self._numbers) != M[layout.MARKETS]:
            names = Names(M)
            self._numbers = {names.market(n): n for n in range(M[layout.MARKETS])}
        return self._numbers

    def market(self, name: MarketName) -> int:
        """A market by name or number. Raises `RpcError` -32602."""
        number = name if isinstance(name, int) else self.markets().get(name, -1)
        if not 0 <= number < self._state.memory.M[layout.MARKETS]:
            text = f"there is no market {str(name)[:32]!r}; clob_markets lists them"
            raise RpcError(INVALID_PARAMS, text)
        return number

    def account(self, account: int | str) -> int:
        """An account by number or by address. Raises `RpcError` 7380."""
        M = self._state.memory.M
        if isinstance(account, int):
            if 0 < account < M[layout.ACCOUNTS]:
                return account
            raise RpcError(UNKNOWN_ACCOUNT, f"there is no account {account}")
        words = address_words(hex_bytes(account, "account", 20))
        found = self._find(words)
        if found is None:
            text = f"{account} has no account; its first deposit makes one"
            raise RpcError(UNKNOWN_ACCOUNT, text)
        return found

    def _find(self, words: tuple[int, int, int]) -> int | None:
        found = self._by_address().get(words)
        if found is not None and not self._is(found, words):
            self._accounts.clear()
            found = self._by_address().get(words)
        return found

    def _is(self, account: int, words: tuple[int, int, int]) -> bool:
        M = self._state.memory.M
        at = M[layout.AT_ACCOUNTS] + account * ACCOUNT_WORDS
        return account < M[layout.ACCOUNTS] and (M[at], M[at + 1], M[at + 2]) == words

    def _by_address(self) -> dict[tuple[int, int, int], int]:
        """Accounts by the words of their address; they are only ever added."""
        M, known = self._state.memory.M, self._accounts
        for number in range(len(known) + 1, M[layout.ACCOUNTS]):
            at = M[layout.AT_ACCOUNTS] + number * ACCOUNT_WORDS
            known[int(M[at]), int(M[at + 1]), int(M[at + 2])] = number
        return known


def hex_bytes(text: str, what: str, size: int | None = None) -> bytes:
    """Bytes written as 0x and hexadecimal, of this size if one is given. Raises `RpcError`."""
    digits = "hexadecimal digits" if size is None else f"{2 * size} hexadecimal digits"
    try:
        if text[:2] != "0x":
            raise ValueError
        data = bytes.fromhex(text[2:])
        if size is not None and len(data) != size:
            raise ValueError
        return data
    except ValueError:
        raise RpcError(INVALID_PARAMS, f"{text[:80]!r} is not {what}: 0x and {digits}") from None
