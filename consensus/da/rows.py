"""Groups and operations as columns: which word goes to which column, predicted from what.

What lives here: the walk over groups and rows that encoder and decoder share. What must never live
here: blocks, byte forms, state, and whether a row makes sense: a refused operation is part of its
block, so every row of eight 64-bit words has a form.

Theory. The walk goes through the rows in order and passes each value to `code` of its column with a
prediction made from the values before it. Contexts: a *party* (account, key) has its last nonce and
client ids; a market, side and order type has a moving price; a market's slot has the generation
last seen there. A *form* is word 0 of an operation with the mask of its words that are not zero;
parties and forms are written once, where they are first met, and then named by number.

Client ids are compared with exclusive or: a random id of 53 bits then costs 53, not 54.

One form per value. A number may name only what was met before or the next new entry; a new entry
may not repeat an old one; a word that the mask announces is not zero; a client id that the party
used in this batch is named by its distance and not spelled out. Nothing else leaves a choice.
"""

from typing import Final, TypeAlias

from consensus.da.columns import PLAIN, SIGNED, WORD_MAX, WORD_MIN, Columns, wrapped
from consensus.exceptions import InvalidPayload
from consensus.layout import (
    GROUP_OPERATIONS_MAX,
    KEY_DEPOSIT,
    KEY_FORCED,
    KEY_GOVERNANCE,
    OP_AMEND,
    OP_CANCEL,
    OP_CANCEL_CLIENT,
    OP_DEADMAN,
    OP_PLACE,
    TIME_NEVER,
)

GROUP_SHAPE: Final = 8007
ENTRY_NUMBER: Final = 8008
ENTRY_REPEATED: Final = 8009
WORD_ZERO: Final = 8010
REFERENCE_FORM: Final = 8011
LOTS_FORM: Final = 8012

Row: TypeAlias = tuple[int, int, int, int, int, int, int, int]

GROUP_COLUMNS: Final = (
    ("party", PLAIN), ("party_account", PLAIN), ("party_key", PLAIN), ("count", PLAIN),
    ("nonce", SIGNED), ("expires", SIGNED), ("signer", PLAIN),
)  # fmt: skip
ROW_COLUMNS: Final = (
    ("form", PLAIN), ("form_word", PLAIN), ("form_mask", PLAIN), ("client", PLAIN),
    ("reference", PLAIN), ("client_other", PLAIN), ("price", SIGNED), ("price_market", SIGNED),
    ("lots", SIGNED), ("lots_zeros", PLAIN), ("budget", SIGNED), ("slot", PLAIN),
    ("generation", SIGNED), ("due", SIGNED), ("rest", SIGNED),
)  # fmt: skip

(
    PARTY, PARTY_ACCOUNT, PARTY_KEY, COUNT, NONCE, EXPIRES, SIGNER,
    FORM, FORM_WORD, FORM_MASK, CLIENT, REFERENCE, CLIENT_OTHER, PRICE, PRICE_MARKET,
    LOTS, LOTS_ZEROS, BUDGET, SLOT, GENERATION, DUE, REST,
) = range(len(GROUP_COLUMNS) + len(ROW_COLUMNS))  # fmt: skip

ACCOUNT_END: Final = 1 << 53
SIGNER_ENDS: Final = (1 << 56, 1 << 56, 1 << 48)
SESSION_KEYS_MAX: Final = 4
SLOT_BITS: Final = 24
SLOT_MASK: Final = (1 << SLOT_BITS) - 1
GENERATION_END: Final = 1 << 39
TYPE_BUDGET: Final = 2
PRICE_CONTEXT: Final = 0xFFFF_000F_0F00
"""Of word 0: market, type and side."""
OWN_WORDS: Final = {
    OP_PLACE: (1, 2, 3, 6), OP_AMEND: (1, 2, 3), OP_CANCEL: (1,), OP_CANCEL_CLIENT: (1,),
    OP_DEADMAN: (1,),
}  # fmt: skip
"""Words with columns of their own; any other goes to `rest`."""
PRICE_SHIFT: Final = 2
"""The predicted price moves a quarter of the way to each price seen."""
ZEROS_MAX: Final = 18
"""10^18 is the largest power of ten below 2^63."""


class Party:
    """What was seen of one key of one account in this batch."""

    __slots__ = ("account", "client", "ids", "key", "nonce", "place_of")

    def __init__(self, account: int, key: int) -> None:
        self.account = account
        self.key = key
        self.nonce = 0
        self.client = 0
        self.ids: list[int] = []
        self.place_of: dict[int, int] = {}

    def placed(self, client: int) -> None:
        self.client = client
        self.place_of[client] = len(self.ids)
        self.ids.append(client)


class Form:
    """Word 0 of an operation, the mask of its words that are not zero, and what follows from them.

    Bit i - 1 of the mask stands for word i.
    """

    __slots__ = ("has", "market", "named", "op", "price", "rest", "type", "word", "zeros")

    def __init__(self, word: int, mask: int, prices: dict[int, list[int]]) -> None:
        self.word = word
        self.op = word & 255
        self.type = word >> 16 & 15
        self.market = word >> 32 & 65535
        self.named = bool(word >> 28 & 1)
        self.has = tuple(index == 0 or bool(mask >> index - 1 & 1) for index in range(8))
        own = OWN_WORDS.get(self.op, ())
        self.rest = tuple(index for index in range(1, 8) if self.has[index] and index not in own)
        self.zeros = self.has.count(False) + (word == 0)
        self.price = prices.setdefault(word & PRICE_CONTEXT, [0])


class Walk:
    """The contexts of one batch, and the walk of groups and rows through the columns of `io`.

    Over a writer, `group` and `row` take what is there; over a reader, they ignore it and return
    what they read. Raises `InvalidPayload` 8005, 8007 .. 8012.
    """

    def __init__(self, io: Columns) -> None:
        self._code = io.code
        self._parties: list[Party] = []
        self._party_numbers: dict[tuple[int, int], int] = {}
        self._forms: list[Form] = []
        self._form_numbers: dict[tuple[int, int], int] = {}
        self._prices: dict[int, list[int]] = {}
        self._generations: dict[int, int] = {}
        self._message_nonce = 0

    def group(self, header: Row, time: int, is_message: bool) -> tuple[Row, int, Party]:
        """Return the header row (the signer of commands is zero), its count and its party."""
        code = self._code
        word, account, nonce, expires, *signer, _ = header
        number, pair = self._entry(PARTY, self._party_numbers, (account, word >> 16 & 255))
        if number == len(self._parties):
            self._parties.append(Party(*pair))
        party = self._parties[number]
        account, key = party.account, party.key
        count = code(COUNT, word >> 8 & 255, 1)
        if is_message:
            is_known = key in (KEY_DEPOSIT, KEY_FORCED)
            nonce = self._message_nonce = code(NONCE, nonce, self._message_nonce + 1)
            is_known &= expires == 0 and nonce >= 0  # places in the L1 queue count from 0
            signer = [code(SIGNER, part) for part in signer]
            is_known &= all(0 <= s < end for s, end in zip(signer, SIGNER_ENDS, strict=True))
        else:
            is_known = 0 <= key <= SESSION_KEYS_MAX or key == KEY_GOVERNANCE
            nonce = party.nonce = code(NONCE, nonce, party.nonce + 1)
            is_known &= nonce > 0
            expires = code(EXPIRES, expires, time)
            signer = [0, 0, 0]
        is_known &= not (header[7] or header[0] & 255 or header[0] >> 24)
        is_known &= 0 <= account < ACCOUNT_END and nonce < TIME_NEVER
        if not (is_known and 0 < count <= GROUP_OPERATIONS_MAX):
            text = "a group header outside its shape: key, count, account, nonce or signer"
            raise InvalidPayload(GROUP_SHAPE, text, account=account, key=key, count=count)
        word = count << 8 | key << 16
        return (word, account, nonce, expires, signer[0], signer[1], signer[2], 0), count, party

    def row(self, row: Row, party: Party, time: int) -> list[int]:
        """Return the eight words of one operation."""
        w = list(row)
        number, pair = self._entry(FORM, self._form_numbers, (w[0], _mask(row)))
        if number == len(self._forms):
            if not 0 <= pair[1] < 128:
                raise InvalidPayload(ENTRY_NUMBER, f"{pair[1]} is no mask of seven words")
            self._forms.append(Form(*pair, self._prices))
        form = self._forms[number]
        w[0] = form.word
        op = form.op
        if op == OP_PLACE:
            self._place(w, form, party, time)
        elif op == OP_CANCEL:
            if form.has[1]:
                w[1] = self._handle(w[1], form.market)
        elif op == OP_CANCEL_CLIENT:
            if form.has[1]:
                w[1] = self._client(w[1], party)
        elif op == OP_AMEND:
            self._amend(w, form, party)
        elif op == OP_DEADMAN and form.has[1]:
            w[1] = self._code(DUE, w[1], time)
        for index in form.rest:
            w[index] = self._code(REST, w[index])
        if w.count(0) != form.zeros:
            raise InvalidPayload(WORD_ZERO, "a word that the mask announces is zero", words=w)
        return w

    def _entry(
        self, column: int, numbers: dict[tuple[int, int], int], pair: tuple[int, int]
    ) -> tuple[int, tuple[int, int]]:
        """The number of a party or form; the pair stands in the two columns after `column`."""
        code = self._code
        number = code(column, numbers.get(pair, len(numbers)))
        if number == len(numbers):
            pair = code(column + 1, pair[0]), code(column + 2, pair[1])
            if pair in numbers:
                text = f"{pair} was entered before; use its number {numbers[pair]}"
                raise InvalidPayload(ENTRY_REPEATED, text, entry=numbers[pair])
            numbers[pair] = number
        elif not 0 <= number < len(numbers):
            text = f"number {number} of column {column}, where {len(numbers)} are known"
            raise InvalidPayload(ENTRY_NUMBER, text, entry=number)
        return number, pair

    def _place(self, w: list[int], form: Form, party: Party, time: int) -> None:
        code, has = self._code, form.has
        if has[1]:
            predicted = wrapped(party.client + 1)
            w[1] = code(CLIENT, w[1] ^ predicted) ^ predicted
            party.placed(w[1])
        if has[2]:
            w[2] = self._price(PRICE_MARKET if form.type else PRICE, w[2], form.price)
        if has[3]:
            w[3] = code(BUDGET, w[3]) if form.type == TYPE_BUDGET else self._lots(w[3])
        if has[6]:
            w[6] = code(DUE, w[6], time)

    def _amend(self, w: list[int], form: Form, party: Party) -> None:
        if form.has[1]:
            w[1] = self._client(w[1], party) if form.named else self._handle(w[1], form.market)
        if form.has[2]:
            w[2] = self._price(PRICE, w[2], form.price)
        if form.has[3]:
            w[3] = self._lots(w[3])

    def _price(self, column: int, price: int, context: list[int]) -> int:
        predicted = context[0]
        price = self._code(column, price, predicted)
        context[0] = predicted + (wrapped(price - predicted) >> PRICE_SHIFT)
        return price

    def _lots(self, lots: int) -> int:
        zeros = 0
        while lots and lots % 10 == 0:
            lots //= 10
            zeros += 1
        lots = self._code(LOTS, lots)
        zeros = self._code(LOTS_ZEROS, zeros)
        if not 0 <= zeros <= ZEROS_MAX or lots % 10 == 0:
            text = f"{lots} x 10^{zeros} is not lots without their trailing zeros"
            raise InvalidPayload(LOTS_FORM, text, lots=lots, zeros=zeros)
        lots *= 10**zeros
        if not WORD_MIN <= lots <= WORD_MAX:
            raise InvalidPayload(LOTS_FORM, f"{lots} lots are wider than a word", lots=lots)
        return lots

    def _handle(self, handle: int, market: int) -> int:
        slot = self._code(SLOT, handle & SLOT_MASK)
        if not 0 <= slot <= SLOT_MASK:
            text = f"a slot of {slot}, at most {SLOT_MASK} fits into a handle"
            raise InvalidPayload(REFERENCE_FORM, text, slot=slot)
        at = market << SLOT_BITS | slot
        predicted = self._generations.get(at, 0) + 1
        generation = self._code(GENERATION, handle >> SLOT_BITS, predicted)
        if not -GENERATION_END <= generation < GENERATION_END:
            text = f"a generation of {generation} is wider than a handle's 40 bits"
            raise InvalidPayload(REFERENCE_FORM, text, generation=generation)
        self._generations[at] = generation
        return generation << SLOT_BITS | slot

    def _client(self, client: int, party: Party) -> int:
        """A client id that is cancelled or amended: how many ids ago it was placed, or itself."""
        ids, place_of = party.ids, party.place_of
        back = self._code(REFERENCE, len(ids) - place_of.get(client, len(ids)))
        if not 0 <= back <= len(ids):
            text = f"{back} client ids back, where the party placed {len(ids)}"
            raise InvalidPayload(REFERENCE_FORM, text, back=back)
        if back:
            client = ids[-back]
            if place_of[client] != len(ids) - back:
                text = f"client id {client} was placed again later; count from there"
                raise InvalidPayload(REFERENCE_FORM, text, back=back)
            return client
        client = self._code(CLIENT_OTHER, client ^ party.client) ^ party.client
        if client in place_of:
            text = f"client id {client} was placed in this batch; say how many ids ago"
            raise InvalidPayload(REFERENCE_FORM, text, client=client)
        party.client = party.client or client
        return client


def _mask(row: Row) -> int:
    _, a, b, c, d, e, f, g = row
    mask = (a != 0) | (b != 0) << 1 | (c != 0) << 2
    if d or e or f or g:
        mask |= (d != 0) << 3 | (e != 0) << 4 | (f != 0) << 5 | (g != 0) << 6
    return mask
