"""What a wallet shows a person for a row: the words of EIP-712 `Operation`.

What lives here: one sentence per operation code, and the names of markets and assets. What must
never live here: hashing (`typed_data`), or whether the row is allowed.

Theory. The words are part of what is signed, so they are consensus: a function of the row and of
names that never change once given. A market or asset that the state does not have yet is shown by
number, so a group that names one by its symbol is includable from the block after its listing.
Whatever the words of a row are, there is text for them: rows that the core will refuse are signed,
carried and refused like others. Text is ASCII and short enough for every value of every word.

| operation | action | market | side | price | quantity | terms |
| --- | --- | --- | --- | --- | --- | --- |
| place | place limit / market / budget order | its name | buy, sell | ticks | lots, atoms | rest |
| amend | amend order | its name, empty by client id | | ticks | total lots | which order |
| cancel, by client id, all | cancel order / all orders | its name | | | | which |
| transfer, withdraw, deposit | the same | | | | atoms | asset, receiver |
| grant, revoke, dead-man, settings | the same | | | | | all fields |
| governance | the same | its name | | | | words 1..7; the governor's address |
"""

from struct import Struct
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.exceptions import InvalidSignature
from consensus.signatures import address_from_words
from consensus.typed_data import Operation

ROW: Final = Struct("<8q")
SIDES: Final = ("buy", "sell")
TIFS: Final = ("good till cancelled", "immediate or cancel", "fill or kill")
TYPES: Final = ("limit", "market", "budget")
POSTS: Final = ("", "post only", "post only or slide")
STPS: Final = ("", "cancel own maker", "cancel taker", "cancel own both", "decrement own")
GOVERNANCE: Final = {
    layout.OP_LIST_ASSET: "list asset",
    layout.OP_LIST_MARKET: "list market",
    layout.OP_FEES: "set fees",
    layout.OP_MARKET_STATUS: "set market status",
    layout.OP_CHAIN_STATUS: "set chain status",
    layout.OP_VALIDATORS: "set validators",
    layout.OP_PARAMETER: "set parameter",
    layout.OP_TIER: "set fee tier",
    layout.OP_MARKET_LIMITS: "set market limits",
    layout.OP_GOVERNOR: "set governor",
}
OF_MARKET: Final = (layout.OP_FEES, layout.OP_MARKET_STATUS, layout.OP_MARKET_LIMITS)


class Names:
    """Symbols of assets and "BASE-QUOTE" of markets that the state has now, looked up when asked.

    What is listed later keeps its number, even if `M` goes on. A symbol or pair that an earlier
    asset or market has is shown with the number too: a name alone always means the first.
    """

    __slots__ = ("_M", "_first", "_shown", "assets", "markets")

    def __init__(self, M: vec[i64]) -> None:
        self._M = M
        self.assets: Final = int(M[layout.ASSETS])
        self.markets: Final = int(M[layout.MARKETS])
        self._first: dict[tuple[int, int], int] = {}
        self._shown: dict[int, str] = {}

    def asset(self, number: int) -> str:
        if not 0 <= number < self.assets:
            return f"asset {number}"
        word = self._symbol(number)
        text = word.to_bytes(7, "big").rstrip(b"\0")
        if not text.isalnum():
            return f"asset {number}"
        is_first = all(self._symbol(earlier) != word for earlier in range(number))
        return text.decode("ascii") + ("" if is_first else f" (asset {number})")

    def market(self, number: int) -> str:
        if number == layout.ALL_MARKETS:
            return "all markets"
        if not 0 <= number < self.markets:
            return f"market {number}"
        shown = self._shown.get(number)
        if shown is None:
            shown = self._shown[number] = self._market(number)
        return shown

    def _market(self, number: int) -> str:
        if not self._first:
            for earlier in range(self.markets):
                self._first.setdefault(self._pair(earlier), earlier)
        base, quote = pair = self._pair(number)
        repeated = "" if self._first[pair] == number else f" (market {number})"
        return f"{self.asset(base)}-{self.asset(quote)}{repeated}"

    def _symbol(self, number: int) -> int:
        return int(self._M[layout.AT_ASSETS + number * 16 + layout.ASSET_SYMBOL])

    def _pair(self, number: int) -> tuple[int, int]:
        M = self._M
        k = M[M[layout.AT_MARKETS] + number * 16 + layout.MARKET_REGION]
        return int(M[k + layout.BOOK_BASE]), int(M[k + layout.BOOK_QUOTE_ASSET])


def render(row: bytes, names: Names) -> Operation:
    """The words for a 64-byte row."""
    words = ROW.unpack(row)
    op = words[0] & 255
    market = words[0] >> 32 & 0xFFFF
    if op == layout.OP_PLACE:
        return _place(row, words, names.market(market))
    if op in (
        layout.OP_AMEND,
        layout.OP_CANCEL,
        layout.OP_CANCEL_CLIENT,
        layout.OP_CANCEL_ALL,
    ):
        return _change(row, words, op, names.market(market))
    if op in (layout.OP_TRANSFER, layout.OP_WITHDRAW, layout.OP_DEPOSIT):
        return _funds(row, words, op, names)
    if op in GOVERNANCE:
        shown = names.market(market) if op in OF_MARKET else ""
        terms = f"words {' '.join(map(str, words[1:]))}"
        if op == layout.OP_GOVERNOR:
            terms = f"to {_address(words[1:4])}"
        return Operation(GOVERNANCE[op], shown, "", 0, 0, terms, row)
    return _account(row, words, op, names)


def _place(row: bytes, words: tuple[int, ...], market: str) -> Operation:
    word, client, price, lots, display, minimum, expires, _ = words
    tif, kind, post, stp = (word >> shift & 15 for shift in (12, 16, 20, 24))
    parts = [_pick(TIFS, tif), _pick(POSTS, post), _pick(STPS, stp)]
    parts.append("reduce only" if word >> 28 & 1 else "")
    parts.append(f"display {display}" if display else "")
    parts.append(f"at least {minimum}" if minimum else "")
    parts.append(f"until {expires}" if expires else "")
    parts.append(f"client id {client}")
    return Operation(
        f"place {_pick(TYPES, kind)} order",
        market,
        _pick(SIDES, word >> 8 & 15),
        _unsigned(price),
        _unsigned(lots),
        ", ".join(filter(None, parts)),
        row,
    )


def _change(row: bytes, words: tuple[int, ...], op: int, market: str) -> Operation:
    if op == layout.OP_CANCEL_CLIENT:
        return Operation("cancel order", "", "", 0, 0, f"client id {words[1]}", row)
    if op == layout.OP_CANCEL:
        return Operation("cancel order", market, "", 0, 0, f"handle {words[1]}", row)
    if op == layout.OP_CANCEL_ALL:
        return Operation("cancel all orders", market, "", 0, 0, f"from slot {words[1]}", row)
    by_client = words[0] >> 28 & 1
    which = f"{'client id' if by_client else 'handle'} {words[1]}"
    shown = "" if by_client else market
    price, total = _unsigned(words[2]), _unsigned(words[3])
    return Operation("amend order", shown, "", price, total, which, row)


def _funds(row: bytes, words: tuple[int, ...], op: int, names: Names) -> Operation:
    if op == layout.OP_TRANSFER:
        terms = f"{names.asset(words[3])} to account {words[1]}"
        return Operation("transfer", "", "", 0, _unsigned(words[2]), terms, row)
    if op == layout.OP_WITHDRAW:
        terms = f"{names.asset(words[1])} to {_address(words[3:6])}"
        return Operation("withdraw", "", "", 0, _unsigned(words[2]), terms, row)
    terms = f"{names.asset(words[4])} for {_address(words[1:4])}"
    return Operation("deposit", "", "", 0, _unsigned(words[5]), terms, row)


def _account(row: bytes, words: tuple[int, ...], op: int, names: Names) -> Operation:
    if op == layout.OP_GRANT:
        slot, reduce_only, quote = words[7] & 255, words[7] >> 8 & 1, words[7] >> 16
        action = "grant session key"
        terms = f"slot {slot} to {_address(words[1:4])} until {words[4]}, at most {words[5]} "
        terms += f"{names.asset(quote)} atoms a day, markets {_unsigned(words[6]):#x}"
        terms += ", reduce only" if reduce_only else ""
    elif op == layout.OP_REVOKE:
        action, terms = "revoke session key", f"slot {words[1]}"
    elif op == layout.OP_DEADMAN:
        action = "cancel all orders later"
        terms = f"at {words[1]}" if words[1] else "never"
    elif op == layout.OP_SETTINGS:
        action, terms = "set self-trade mode", _pick(STPS, words[1])
    else:
        action, terms = f"unknown operation {op}", ""
    return Operation(action, "", "", 0, 0, terms, row)


def _pick(texts: tuple[str, ...], index: int) -> str:
    return texts[index] if 0 <= index < len(texts) else f"unknown {index}"


def _unsigned(word: int) -> int:
    """A member is unsigned; the core refuses a negative word, whatever is shown for it."""
    return max(word, 0)


def _address(words: tuple[int, ...]) -> str:
    try:
        return "0x" + address_from_words(*words).hex()
    except InvalidSignature:
        return "no address"
