"""Genesis: the file that a chain is, its hash, and the operations that make its first state.

What lives here: the fields with their bounds, the checks between them, the genesis operations as
rows, the sizes of the memory. What must never live here: executing the rows (the core does, with
the same checks as ever), reading the file from disk. Every field: docs/protocol/genesis.md.

Theory. The genesis hash stands in every signed command and is the parent of block 0, so whoever
signs or follows anything has agreed to each value of the file. It is taken over canonical JSON of
values that have one spelling each: two files with one meaning have one hash. What a file
can get wrong is found here, before a memory of gigabytes is made: a row that the core would refuse
must not come out of `rows`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from struct import Struct
from typing import Final

from consensus.exceptions import InvalidGenesis
from consensus.forks import KNOWN, Fork, Schedule
from consensus.genesis_fields import (
    FORM,
    NUMBER_MAX,
    Field,
    decode,
    encode_canonical,
    fault,
    refuse,
)
from consensus.layout import (
    AMOUNT_MAX,
    AT_ASSETS,
    BOOK_HEADER_WORDS,
    DAY_MS,
    KEYS_PER_ACCOUNT,
    LEAF_WORDS,
    OP_DEPOSIT,
    OP_FEES,
    OP_LIST_ASSET,
    OP_LIST_MARKET,
    OP_MARKET_STATUS,
    ORDER_WORDS,
    PAGE_WORDS,
    PRODUCT_MAX,
    RATE_MAX,
    RATE_UNIT,
    TIERS,
)
from consensus.signatures import ADDRESS_BYTES, ADDRESS_ZERO, address_words
from consensus.state.tree import LEAVES_MAX

GENESIS_BYTES_MAX: Final = 16 << 20
GENESIS_TAG: Final = b"rialto/genesis/1"
SETTLEMENTS: Final = ("quorum", "challenge", "validity")
PARAMETERS: Final = (
    ("visits_max", 16, 5000),
    ("leaves_max", 64, 40_000),
    ("rate_per_s", 1, 1_000_000),
    ("rate_burst", 64, 1_000_000),
    ("sweep_orders", 0, 1024),
)
"""Name and bounds by parameter id."""
SIZES: Final = (
    ("assets_max", 4, 64),
    ("markets_max", 4, 4096),
    ("accounts_max", 64, 1 << 20),
    ("table_slots", 32, 4096),
)
FORKS_MAX: Final = 64
VALIDATORS_MAX: Final = 256
DEPOSITS_MAX: Final = 65_536
KEY_BYTES: Final = 48
"""A compressed point of G1 of BLS12-381."""
PROOF_BYTES: Final = 96
"""A compressed point of G2."""
BLS_PRIME: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
    "1eabfffeb153ffffb9feffffffffaaab",
    16,
)

UNKNOWN_SYMBOL: Final = 6008
DUPLICATE: Final = 6009
PRODUCT: Final = 6010
SUPPLY: Final = 6011
CAPACITY: Final = 6012
DRIFT: Final = 6013

_ROW: Final = Struct("<8q")


@dataclass(frozen=True, slots=True)
class Sizes:
    assets_max: int
    markets_max: int
    accounts_max: int
    table_slots: int


@dataclass(frozen=True, slots=True)
class Asset:
    symbol: str
    decimals: int
    withdraw_minimum: int  # atoms


@dataclass(frozen=True, slots=True)
class Fees:
    taker_ppm: int
    maker_ppm: int  # negative: a rebate


@dataclass(frozen=True, slots=True)
class Market:
    base: int  # asset
    quote: int  # asset
    price_bits: int
    pool_bits: int
    page_bits: int
    base_per_lot: int  # atoms
    quote_per_tick_lot: int  # atoms
    minimum_notional: int  # quote atoms
    lots_max: int
    band_ppm: int
    orders_per_trader: int
    reference_price: int  # ticks
    fees: tuple[Fees, ...]  # by tier
    open: bool


@dataclass(frozen=True, slots=True)
class Validator:
    """A key and the proof that its holder knows the secret; `finality.validators` verifies it."""

    key: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class Deposit:
    owner: bytes
    asset: int
    amount: int  # atoms


@dataclass(frozen=True, slots=True)
class Genesis:
    """A checked genesis file. `parameters` are by id, in the order of `PARAMETERS`."""

    hash: bytes
    name: str
    chain_id: int
    time: int  # ms
    contract: bytes  # zero: no L1
    settlement: str
    block_interval_ms: int
    drift_max_ms: int
    sizes: Sizes
    parameters: tuple[int, ...]
    governor: bytes
    fee_account: bytes
    forks: Schedule
    validators: tuple[Validator, ...]
    assets: tuple[Asset, ...]
    markets: tuple[Market, ...]
    deposits: tuple[Deposit, ...]

    @property
    def validators_hash(self) -> bytes:
        """SHA-256 over the keys, in order; of nothing for a chain that does not certify."""
        return sha256(b"".join(one.key for one in self.validators)).digest()

    def market_name(self, market: int) -> str:
        terms = self.markets[market]
        return f"{self.assets[terms.base].symbol}-{self.assets[terms.quote].symbol}"


def parse(data: bytes) -> Genesis:
    """The genesis that the file's bytes describe.

    Raises `InvalidGenesis`: the first fault, whose fact `faults` holds all of them. Checks between
    fields are made once every field for itself is right.
    """
    value = decode(data, limit_bytes=GENESIS_BYTES_MAX)
    faults: list[InvalidGenesis] = []
    genesis = _read(Field(value, "", faults))
    if not faults:
        faults += _cross_faults(genesis)
    if faults:
        refuse(faults)
    return replace(genesis, hash=sha256(GENESIS_TAG + encode_canonical(value)).digest())


def rows(genesis: Genesis) -> list[bytes]:
    """The genesis operations in order, 64 bytes each.

    Assets, markets, the fees of every market and tier, the markets that open, deposits.
    """
    made = [
        _row(OP_LIST_ASSET, 0, symbol_word(asset.symbol), asset.decimals, asset.withdraw_minimum)
        for asset in genesis.assets
    ]
    for terms in genesis.markets:
        size = terms.price_bits << 16 | terms.pool_bits << 24 | terms.page_bits << 32
        made.append(
            _row(
                OP_LIST_MARKET,
                0,
                terms.base | terms.quote << 8 | size,
                terms.base_per_lot,
                terms.quote_per_tick_lot,
                terms.minimum_notional,
                terms.lots_max,
                terms.band_ppm | terms.orders_per_trader << 20,
                terms.reference_price,
            )
        )
    for market, terms in enumerate(genesis.markets):
        for tier, fees in enumerate(terms.fees):
            made.append(_row(OP_FEES, market, tier, fees.taker_ppm, fees.maker_ppm))
    for market, terms in enumerate(genesis.markets):
        if terms.open:
            made.append(_row(OP_MARKET_STATUS, market, 0))
    for deposit in genesis.deposits:
        owner = address_words(deposit.owner)
        made.append(_row(OP_DEPOSIT, 0, *owner, deposit.asset, deposit.amount))
    return made


def symbol_word(symbol: str) -> int:
    """Up to 7 ASCII bytes, big-endian, left-aligned in 56 bits."""
    return int.from_bytes(symbol.encode("ascii").ljust(7, b"\0"), "big")


def memory_words(genesis: Genesis) -> list[tuple[str, int]]:
    """Name and size in words of every region that the file makes, the ledger first."""
    sizes = genesis.sizes
    regions = [("ledger", ledger_words(sizes))]
    for market, terms in enumerate(genesis.markets):
        regions.append((genesis.market_name(market), market_words(terms, sizes.accounts_max)))
    return regions


def ledger_words(sizes: Sizes) -> int:
    return AT_ASSETS + sum(_ledger_parts(sizes))


def opened_leaves(sizes: Sizes) -> tuple[int, int]:
    """The leaves of the ledger's tree at which accounts and balances begin: L1 opens those."""
    assets, markets, accounts, keys, _, _ = _ledger_parts(sizes)
    at_accounts = AT_ASSETS + assets + markets
    return at_accounts // LEAF_WORDS, (at_accounts + accounts + keys) // LEAF_WORDS


def _ledger_parts(sizes: Sizes) -> list[int]:
    """Words behind the header: assets, markets, accounts, session keys, balances, order tables."""
    accounts = sizes.accounts_max
    words = (
        sizes.assets_max * 16,
        sizes.markets_max * 16,
        accounts * 32,
        accounts * KEYS_PER_ACCOUNT * 16,
        accounts * sizes.assets_max * 8,
        accounts * sizes.table_slots,
    )
    return [_padded(count) for count in words]


def market_words(terms: Market, accounts_max: int) -> int:
    directory = max(LEAF_WORDS, 1 << terms.price_bits - 6)
    return (
        BOOK_HEADER_WORDS
        + 2 * _bitmap_words(terms.price_bits)
        + 2 * directory
        + _bitmap_words(terms.page_bits)
        + _bitmap_words(terms.pool_bits)
        + (PAGE_WORDS << terms.page_bits)
        + (ORDER_WORDS << terms.pool_bits)
        + accounts_max * 8
    )


def _bitmap_words(bits: int) -> int:
    """A 64-ary heap over 2^bits items: the words above its last level, and that level."""
    depth = (bits + 5) // 6
    return _padded((64 ** (depth - 1) - 1) // 63 + (1 << bits - 6))


def _padded(words: int) -> int:
    return (words + LEAF_WORDS - 1) // LEAF_WORDS * LEAF_WORDS


def _row(op: int, market: int, *words: int) -> bytes:
    return _ROW.pack(op | market << 32, *words, *[0] * (7 - len(words)))


def _read(file: Field) -> Genesis:
    """Read every field for itself; the result counts only if no fault was recorded."""
    top = file.members(*[field.name for field in fields(Genesis) if field.name != "hash"])
    sizes = top["sizes"].members(*[name for name, _, _ in SIZES])
    parameters = top["parameters"].members(*[name for name, _, _ in PARAMETERS])
    assets = tuple(_asset(item) for item in top["assets"].items(0, SIZES[0][2]))
    symbols = [asset.symbol for asset in assets]
    return Genesis(
        hash=b"",  # `parse` sets it once the file is known to be right
        name=top["name"].text("[a-z][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and -, a letter first"),
        chain_id=top["chain_id"].integer(1, NUMBER_MAX),
        time=top["time"].integer(1, NUMBER_MAX),
        contract=top["contract"].data(ADDRESS_BYTES, "an address"),
        settlement=top["settlement"].choice(*SETTLEMENTS),
        block_interval_ms=top["block_interval_ms"].integer(10, 60_000),
        drift_max_ms=top["drift_max_ms"].integer(0, DAY_MS),
        sizes=Sizes(*[sizes[name].power_of_two(low, high) for name, low, high in SIZES]),
        parameters=tuple(parameters[name].integer(low, high) for name, low, high in PARAMETERS),
        governor=_nonzero_address(top["governor"]),
        fee_account=_nonzero_address(top["fee_account"]),
        forks=_forks(top["forks"]),
        validators=tuple(_validator(item) for item in top["validators"].items(0, VALIDATORS_MAX)),
        assets=assets,
        markets=tuple(_market(item, symbols) for item in top["markets"].items(0, SIZES[1][2])),
        deposits=tuple(_deposit(item, symbols) for item in top["deposits"].items(0, DEPOSITS_MAX)),
    )


def _nonzero_address(field: Field) -> bytes:
    address = field.data(ADDRESS_BYTES, "an address")
    if field.value == "0x" + ADDRESS_ZERO.hex():
        field.fault(FORM, "be an address that is not zero")
    return address


def _forks(field: Field) -> Schedule:
    before = len(field.faults)
    forks = []
    for item in field.items(1, FORKS_MAX):
        part = item.members("name", "height", "version", "layout")
        name = part["name"].text("[a-z]{1,32}", "1 to 32 of a-z")
        height, version, layout = [
            part[key].integer(low, high)
            for key, low, high in (
                ("height", 0, NUMBER_MAX),
                ("version", 1, 0xFFFF),
                ("layout", 1, 0xFFFF),
            )
        ]
        forks.append(Fork(name, height, version, layout))
    if len(field.faults) == before and forks:
        try:
            return Schedule(tuple(forks))
        except InvalidGenesis as error:
            field.faults.append(fault(error.number, field.path, error.text))
    return Schedule((Fork("canal", 0, *KNOWN["canal"]),))


def _validator(field: Field) -> Validator:
    """A key in the compressed form; whether the point is of the right group, finality checks."""
    part = field.members("key", "proof")
    return Validator(_bls_key(part["key"]), part["proof"].data(PROOF_BYTES, "a BLS signature"))


def _bls_key(field: Field) -> bytes:
    key = field.data(KEY_BYTES, "a compressed BLS public key")
    compressed, infinity = key[0] & 0x80, key[0] & 0x40
    x = int.from_bytes(key, "big") & ((1 << 381) - 1)
    if any(key) and (not compressed or infinity or x >= BLS_PRIME):
        field.fault(FORM, "be a compressed BLS public key that is not infinity")
    return key


def _asset(field: Field) -> Asset:
    part = field.members("symbol", "decimals", "withdraw_minimum")
    return Asset(
        symbol=part["symbol"].text("[A-Z][A-Z0-9]{0,6}", "1 to 7 of A-Z and 0-9, a letter first"),
        decimals=part["decimals"].integer(0, 18),
        withdraw_minimum=part["withdraw_minimum"].integer(0, AMOUNT_MAX),
    )


def _asset_number(field: Field, symbols: Sequence[str]) -> int:
    symbol = field.text(".{1,64}", "the symbol of an asset")
    if symbol and symbol not in symbols:
        field.fault(UNKNOWN_SYMBOL, "be the symbol of an asset of this file")
    return symbols.index(symbol) if symbol in symbols else 0


def _market(field: Field, symbols: Sequence[str]) -> Market:
    part = field.members(*[member.name for member in fields(Market)])
    price_bits = part["price_bits"].integer(6, 28)
    return Market(
        base=_asset_number(part["base"], symbols),
        quote=_asset_number(part["quote"], symbols),
        price_bits=price_bits,
        pool_bits=part["pool_bits"].integer(6, 20),
        page_bits=part["page_bits"].integer(6, 16),
        base_per_lot=part["base_per_lot"].integer(1, PRODUCT_MAX),
        quote_per_tick_lot=part["quote_per_tick_lot"].integer(1, PRODUCT_MAX),
        minimum_notional=part["minimum_notional"].integer(0, PRODUCT_MAX),
        lots_max=part["lots_max"].integer(1, PRODUCT_MAX),
        band_ppm=part["band_ppm"].integer(0, RATE_UNIT),
        orders_per_trader=part["orders_per_trader"].integer(1, (1 << 20) - 1),
        reference_price=part["reference_price"].integer(0, (1 << price_bits) - 2),
        fees=tuple(_fees(item) for item in part["fees"].items(TIERS, TIERS)),
        open=part["open"].boolean(),
    )


def _fees(field: Field) -> Fees:
    part = field.members("taker_ppm", "maker_ppm")
    taker = part["taker_ppm"].integer(0, RATE_MAX)
    return Fees(taker, part["maker_ppm"].integer(-taker, RATE_MAX))


def _deposit(field: Field, symbols: Sequence[str]) -> Deposit:
    part = field.members("owner", "asset", "amount")
    owner = _nonzero_address(part["owner"])
    return Deposit(
        owner, _asset_number(part["asset"], symbols), part["amount"].integer(1, AMOUNT_MAX)
    )


def _cross_faults(genesis: Genesis) -> Iterator[InvalidGenesis]:
    """What is wrong between fields that are right for themselves."""
    sizes = genesis.sizes
    for part, count, most in (
        ("assets", len(genesis.assets), sizes.assets_max),
        ("markets", len(genesis.markets), sizes.markets_max),
    ):
        if count > most:
            yield fault(CAPACITY, part, f"must fit sizes.{part}_max = {most}, has {count}")
    if not any(genesis.contract) and genesis.drift_max_ms:
        rule = "must be 0 where contract is zero: there is no L1 time to drift from"
        yield fault(DRIFT, "drift_max_ms", rule)
    yield from _repeated("assets", "symbol", [asset.symbol for asset in genesis.assets])
    yield from _repeated("validators", "key", [one.key for one in genesis.validators])
    pairs = [(terms.base, terms.quote) for terms in genesis.markets]
    yield from _repeated("markets", "quote", pairs)
    for i, terms in enumerate(genesis.markets):
        if terms.base == terms.quote:
            yield fault(DUPLICATE, f"markets[{i}].quote", "must not be the base asset")
        highest = (1 << terms.price_bits) - 2
        if highest * terms.lots_max * terms.quote_per_tick_lot > PRODUCT_MAX:
            rule = "times the highest price and quote_per_tick_lot must be at most 2^61"
            yield fault(PRODUCT, f"markets[{i}].lots_max", rule)
        if terms.lots_max * terms.base_per_lot > PRODUCT_MAX:
            rule = "times base_per_lot must be at most 2^61"
            yield fault(PRODUCT, f"markets[{i}].lots_max", rule)
    yield from _deposit_faults(genesis)
    words = sum(words for _, words in memory_words(genesis))
    if words > LEAVES_MAX * LEAF_WORDS:
        rule = f"and markets make {words} words, at most {LEAVES_MAX * LEAF_WORDS} can be numbered"
        yield fault(CAPACITY, "sizes", rule)


def _deposit_faults(genesis: Genesis) -> Iterator[InvalidGenesis]:
    supply = [0] * len(genesis.assets)
    owners = {genesis.fee_account: 0}
    for i, deposit in enumerate(genesis.deposits):
        owners[deposit.owner] = i
        supply[deposit.asset] += deposit.amount
        if supply[deposit.asset] > AMOUNT_MAX:
            symbol = genesis.assets[deposit.asset].symbol
            rule = f"brings all deposits of {symbol} above {AMOUNT_MAX} atoms; lower it"
            yield fault(SUPPLY, f"deposits[{i}].amount", rule)
            return
    if len(owners) + 1 > genesis.sizes.accounts_max:
        most = genesis.sizes.accounts_max
        rule = f"needs {len(owners) + 1} accounts, sizes.accounts_max is {most}"
        yield fault(CAPACITY, "deposits", rule)


def _repeated(part: str, member: str, values: Sequence[object]) -> Iterator[InvalidGenesis]:
    first: dict[object, int] = {}
    for i, value in enumerate(values):
        if first.setdefault(value, i) != i:
            path = f"{part}[{i}].{member}".rstrip(".")
            yield fault(DUPLICATE, path, f"must differ, is that of {part}[{first[value]}]")
