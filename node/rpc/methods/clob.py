"""`clob_*`: commands, books, orders, accounts and subscriptions.

What lives here: from JSON to what the node knows and back. What must never live here: what is on
its way to the disk: everything that is told comes from the tape or from sealed state, but for the
facts of an account, which its owner may see as they are being executed.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import Raw, Struct

from consensus import layout
from consensus.authority import context_of, group_digest
from consensus.chain import State
from consensus.commands import Group
from consensus.exceptions import ConsensusError, InvalidSignature
from consensus.matching.operations import market_at
from consensus.signatures import address_from_words, address_words, from_wallet, recover
from consensus.state.book import checksum
from consensus.wording import Names
from node.app import Node
from node.feeds.channel import notification
from node.feeds.feeds import Feeds, book_json
from node.roles.sequencer import BAD_SIGNATURE
from node.rpc.client import Client
from node.rpc.dispatch import INVALID_PARAMS, Later, Method, RpcError
from node.rpc.events import events_json
from node.rpc.operations import AnyOperation, MarketName, Whole, rows_of, whole
from node.rpc.params import by_name
from node.submission import Answer, Submission, read_submission

BATCH_COMMANDS_MAX: Final = 100
DEPTH_MAX: Final = 1000
FILLS_MAX: Final = 1000
SUBSCRIPTIONS_MAX: Final = 64
UNKNOWN_ACCOUNT: Final = 7380
TOO_MANY: Final = 7381
NO_PUSH: Final = 7382
UNKNOWN_CHANNEL: Final = 7383


class Command(Struct, forbid_unknown_fields=True):
    """A signed group: `group` packed in hexadecimal, or its parts and `operations`."""

    signature: str = ""
    group: str = ""
    account: int = 0
    key: int = 0
    nonce: Whole = 0
    expires: Whole = 0
    signer: str = ""
    operations: list[AnyOperation] = []
    events: bool = False


class Commands(Struct, forbid_unknown_fields=True):
    commands: list[Command]


class OfMarket(Struct, forbid_unknown_fields=True):
    market: MarketName
    depth: int = 20


class OfAccount(Struct, forbid_unknown_fields=True):
    account: int | str
    market: MarketName | None = None
    limit: int = 100


class OneOrder(Struct, forbid_unknown_fields=True):
    """By `market` and `handle`, or by `account` and `client`."""

    market: MarketName | None = None
    handle: Whole | None = None
    account: int | str | None = None
    client: Whole | None = None


class Subscribe(Struct, forbid_unknown_fields=True):
    channel: str
    market: MarketName | None = None
    account: int | str | None = None
    resume: Whole | None = None


class Unsubscribe(Struct, forbid_unknown_fields=True):
    subscription: str


class Clob:
    """The methods, on one node and its feeds."""

    def __init__(self, node: Node, feeds: Feeds) -> None:
        self._node = node
        self._feeds = feeds
        self._numbers: dict[str, int] = {}
        self._accounts: dict[tuple[int, int, int], int] = {}
        self._subscriptions = 0

    @property
    def _state(self) -> State:
        return self._node.chain.state

    # -- commands -----------------------------------------------------------------------------

    def submit(self, params: Raw, client: Client) -> object:
        """One signed group; the answer comes when it is durable."""
        command = by_name(params, Command)
        submission = self.submission(command)
        later = Later()

        def done(answer: Answer) -> None:
            later.finish(lambda: self._answered(submission, answer, command.events))

        self._node.submits.submit_then(submission, done)
        return later

    def submit_batch(self, params: Raw, client: Client) -> object:
        """Several groups, each included or refused for itself; answers in their order."""
        batch = by_name(params, Commands).commands
        if not 0 < len(batch) <= BATCH_COMMANDS_MAX:
            raise RpcError(TOO_MANY, f"{len(batch)} commands: give 1 to {BATCH_COMMANDS_MAX}")
        submissions = [self.submission(command) for command in batch]
        answers: dict[int, Answer] = {}
        later = Later()

        def told() -> object:
            return [
                _in_batch(self._answered(submission, answers[n], command.events))
                for n, (submission, command) in enumerate(zip(submissions, batch, strict=True))
            ]

        def one(n: int) -> Callable[[Answer], None]:
            def done(answer: Answer) -> None:
                answers[n] = answer
                if len(answers) == len(batch):
                    later.finish(told)

            return done

        for n, submission in enumerate(submissions):
            self._node.submits.submit_then(submission, one(n))
        return later

    def submission(self, command: Command) -> Submission:
        """The packed form of a command. Raises numbered errors for what cannot be one."""
        signature = from_wallet(_bytes(command.signature, "signature"))
        if command.group:
            rows = _bytes(command.group, "group")
        else:
            signer = address_words(_bytes(command.signer, "signer"))
            operations = rows_of(command.operations, self._markets())
            nonce, expires = whole(command.nonce), whole(command.expires)
            group = Group(command.key, command.account, nonce, expires, signer, operations)
            if not 0 < group.size <= layout.GROUP_OPERATIONS_MAX:
                raise RpcError(TOO_MANY, f"{group.size} operations: give 1 to 64")
            rows = group.rows
        return read_submission(rows + signature)

    def _answered(self, submission: Submission, answer: Answer, events: bool) -> object:
        if answer.number:
            data: dict[str, object] = {"command": "0x" + submission.hash.hex()}
            if answer.number in (BAD_SIGNATURE, layout.SIGNER):
                data |= self._recovered(submission)
            if answer.number == layout.NONCE_USED:
                data |= self._place(submission)
            return RpcError(answer.number, answer.text, data)
        result: dict[str, object] = {
            "height": answer.height,
            "sequence": answer.sequence,
            "operations": submission.group.size,
            "command": "0x" + submission.hash.hex(),
            "promise": "0x" + answer.promise.hex(),
        }
        if events:
            result["events"] = events_json(answer.events)
        return result

    def _place(self, submission: Submission) -> dict[str, int]:
        """Where the group with this nonce is, if it is sealed: a retry finds its answer."""
        group = submission.group
        place = self._node.chain.blocks.find_command(group.account, group.key, group.nonce)
        return {"height": place.height, "sequence": place.sequence} if place else {}

    def _recovered(self, submission: Submission) -> dict[str, str]:
        """What this node saw: so that a wrong signature can be understood."""
        memory, group = self._state.memory, submission.group
        try:
            digest = group_digest(memory.M, context_of(self._state), group)
            seen = {"digest": "0x" + digest.hex(), "signer": "0x" + group.owner().hex()}
            return seen | {"recovered": "0x" + recover(digest, submission.signature).hex()}
        except ConsensusError as error:
            return {"reason": error.text}

    def digest(self, params: Raw, client: Client) -> object:
        """What to sign for a command without signature: the digest, and the typed data."""
        command = by_name(params, Command)
        command.signature = command.signature or "0x" + "11" * 64 + "00"
        group = self.submission(command).group
        try:
            signed = group_digest(self._state.memory.M, context_of(self._state), group)
        except InvalidSignature as error:
            raise RpcError(error.number, error.text) from error
        return {"digest": "0x" + signed.hex(), "group": "0x" + group.rows.hex()}

    # -- markets and books --------------------------------------------------------------------

    def markets(self, params: Raw, client: Client) -> object:
        """Every listed market and its terms."""
        M = self._state.memory.M
        names = Names(M)
        found = []
        for number in range(M[layout.MARKETS]):
            k = market_at(M, number)
            record = M[layout.AT_MARKETS] + (number << 4)
            feed = self._feeds.markets.get(number)
            found.append(
                {
                    "market": number,
                    "name": names.market(number),
                    "base": int(M[k + layout.BOOK_BASE]),
                    "quote": int(M[k + layout.BOOK_QUOTE_ASSET]),
                    "status": "open" if M[record + layout.MARKET_STATUS] == 0 else "halted",
                    "price_max": int(M[k + layout.BOOK_TICKS]) - 2,
                    "lots_max": int(M[k + layout.BOOK_LOTS_MAX]),
                    "base_per_lot": str(M[k + layout.BOOK_BASE_PER_LOT]),
                    "quote_per_tick_lot": str(M[k + layout.BOOK_QUOTE_PER_TICK_LOT]),
                    "minimum_notional": str(M[k + layout.BOOK_MIN_NOTIONAL]),
                    "band_ppm": int(M[k + layout.BOOK_BAND]),
                    "fees": [_fees(int(M[k + layout.BOOK_FEES + tier])) for tier in range(4)],
                    "last": feed.live.last if feed else 0,
                }
            )
        return found

    def book(self, params: Raw, client: Client) -> object:
        """The best levels of a market, with the sequence that deltas follow."""
        asked = by_name(params, OfMarket)
        if not 0 < asked.depth <= DEPTH_MAX:
            raise RpcError(INVALID_PARAMS, f"depth {asked.depth}: give 1 to {DEPTH_MAX}")
        feed = self._feeds.markets[self._market(asked.market)]
        feed.tick()
        book = feed.live.book(asked.depth)
        return {
            "market": feed.market,
            "sequence": feed.book.sequence,
            "operation": feed.heard,
            **book_json(book),
            "checksum": checksum(feed.live.book(25)),
            "last": feed.live.last,
        }

    def _markets(self) -> dict[str, int]:
        M = self._state.memory.M
        if len(self._numbers) != M[layout.MARKETS]:
            names = Names(M)
            self._numbers = {names.market(n): n for n in range(M[layout.MARKETS])}
        return self._numbers

    def _market(self, name: MarketName) -> int:
        number = name if isinstance(name, int) else self._markets().get(name, -1)
        if number not in self._feeds.markets:
            raise RpcError(INVALID_PARAMS, f"there is no market {name!r}; clob_markets lists them")
        return number

    # -- orders and accounts ------------------------------------------------------------------

    def order(self, params: Raw, client: Client) -> object:
        """A live order, or null."""
        asked = by_name(params, OneOrder)
        M = self._state.memory.M
        if asked.client is not None and asked.account is not None:
            account = self._account_number(asked.account)
            slot = whole(asked.client) & (M[layout.TABLE_SLOTS] - 1)
            found = self._tabled(account, slot)
            return found if found and found["client"] == whole(asked.client) else None
        if asked.market is None or asked.handle is None:
            raise RpcError(INVALID_PARAMS, "give market and handle, or account and client")
        k = market_at(M, self._market(asked.market))
        handle = whole(asked.handle)
        slot = handle & layout.HANDLE_SLOT_MASK
        if not 0 < slot < M[k + layout.BOOK_POOL_MAX]:
            return None
        found = self._order_json(self._market(asked.market), slot)
        return found if found and found["handle"] == str(handle) else None

    def open_orders(self, params: Raw, client: Client) -> object:
        """The live orders of an account, by table slot."""
        asked = by_name(params, OfAccount)
        account = self._account_number(asked.account)
        market = None if asked.market is None else self._market(asked.market)
        return [
            order
            for order in self._orders_of(account)
            if market is None or order["market"] == market
        ]

    def _orders_of(self, account: int) -> Iterator[dict[str, object]]:
        for slot in range(self._state.memory.M[layout.TABLE_SLOTS]):
            order = self._tabled(account, slot)
            if order is not None:
                yield order

    def _tabled(self, account: int, slot: int) -> dict[str, object] | None:
        M = self._state.memory.M
        entry = M[M[layout.AT_TABLES] + slot * M[layout.ACCOUNTS_MAX] + account]
        if entry == 0:
            return None
        market, at = (entry - 1) >> layout.HANDLE_SHIFT, (entry - 1) & layout.HANDLE_SLOT_MASK
        return self._order_json(int(market), int(at))

    def _order_json(self, market: int, slot: int) -> dict[str, object] | None:
        M = self._state.memory.M
        k = market_at(M, market)
        at = k + M[k + layout.BOOK_AT_POOL] + slot * layout.ORDER_WORDS
        tag = M[at + layout.ORDER_TAG]
        if not tag & layout.TAG_LIVE:
            return None
        handle = (tag >> layout.TAG_GENERATION_SHIFT) << layout.HANDLE_SHIFT | slot
        visible, hidden = M[at + layout.ORDER_VISIBLE], M[at + layout.ORDER_HIDDEN]
        total, expires = M[at + layout.ORDER_TOTAL], M[at + layout.ORDER_EXPIRES]
        return {
            "market": market,
            "handle": str(handle),
            "account": int(M[at + layout.ORDER_TERMS] & layout.TERMS_ACCOUNT_MASK),
            "side": ("buy", "sell")[tag >> layout.TAG_SIDE_SHIFT & 1],
            "price": int(M[at + layout.ORDER_PRICE]),
            "total": int(total),
            "left": int(visible + hidden),
            "visible": int(visible),
            "filled": int(total - visible - hidden),
            "expires": 0 if expires == layout.TIME_NEVER else int(expires),
            "client": int(M[at + layout.ORDER_CLIENT]),
            "sequence": int(M[at + layout.ORDER_SEQUENCE]),
        }

    def fills(self, params: Raw, client: Client) -> object:
        """The account's last fills that this node has seen since it started, newest last."""
        asked = by_name(params, OfAccount)
        if not 0 < asked.limit <= FILLS_MAX:
            raise RpcError(INVALID_PARAMS, f"limit {asked.limit}: give 1 to {FILLS_MAX}")
        account = self._account_number(asked.account)
        return list(self._feeds.fills.get(account, ()))[-asked.limit :]

    def account(self, params: Raw, client: Client) -> object:
        """Balances, positions, keys, nonces and rate of an account."""
        account = self._account_number(by_name(params, OfAccount).account)
        M = self._state.memory.M
        at = M[layout.AT_ACCOUNTS] + account * 32
        owner = at + layout.ACCOUNT_OWNER
        return {
            "account": account,
            "address": "0x" + address_from_words(int(M[at]), int(M[at + 1]), int(M[at + 2])).hex(),
            "tier": int(M[at + layout.ACCOUNT_TIER]),
            "self_trade": int(M[at + layout.ACCOUNT_STP]),
            "nonce": int(M[owner + layout.KEY_NONCE]),
            "balances": list(self._balances(account)),
            "positions": list(self._positions(account)),
            "keys": list(self._keys(account)),
        }

    def _balances(self, account: int) -> Iterator[dict[str, object]]:
        M = self._state.memory.M
        names = Names(M)
        for asset in range(M[layout.ASSETS]):
            at = M[layout.AT_BALANCES] + (account * M[layout.ASSETS_MAX] + asset) * 8
            available, locked = M[at + layout.BALANCE_AVAILABLE], M[at + layout.BALANCE_LOCKED]
            if available or locked:
                yield {"asset": asset, "symbol": names.asset(asset),
                       "available": str(available), "locked": str(locked)}  # fmt: skip

    def _positions(self, account: int) -> Iterator[dict[str, object]]:
        M = self._state.memory.M
        for market in range(M[layout.MARKETS]):
            k = market_at(M, market)
            at = k + M[k + layout.BOOK_AT_TRADERS] + account * 8
            words = [int(M[at + word]) for word in range(6)]
            if any(words):
                net, cost, realised, fees, orders, volume = words
                yield {"market": market, "net": str(net), "cost": str(cost),
                       "realised": str(realised), "fees": str(fees), "orders": orders,
                       "volume": str(volume)}  # fmt: skip

    def _keys(self, account: int) -> Iterator[dict[str, object]]:
        M = self._state.memory.M
        for slot in range(1, layout.KEYS_PER_ACCOUNT + 1):
            at = M[layout.AT_KEYS] + (account * layout.KEYS_PER_ACCOUNT + slot - 1) * 16
            if M[at + layout.KEY_FLAGS] & layout.KEY_LIVE:
                address = address_from_words(int(M[at]), int(M[at + 1]), int(M[at + 2]))
                yield {"slot": slot, "address": "0x" + address.hex(),
                       "expires": int(M[at + layout.KEY_EXPIRES]),
                       "cap": str(M[at + layout.KEY_CAP]), "used": str(M[at + layout.KEY_USED]),
                       "markets": str(M[at + layout.KEY_MARKETS]),
                       "epoch": int(M[at + layout.KEY_EPOCH]),
                       "nonce": int(M[at + layout.KEY_NONCE])}  # fmt: skip

    def _account_number(self, account: int | str) -> int:
        """An account by number or by address. Raises `RpcError` 7380."""
        M = self._state.memory.M
        if isinstance(account, int):
            if 0 < account < M[layout.ACCOUNTS]:
                return account
            raise RpcError(UNKNOWN_ACCOUNT, f"there is no account {account}")
        found = self._by_address().get(address_words(_bytes(account, "account")))
        if found is None:
            text = f"{account} has no account; its first deposit makes one"
            raise RpcError(UNKNOWN_ACCOUNT, text)
        return found

    def _by_address(self) -> dict[tuple[int, int, int], int]:
        """Accounts by the words of their address; they are only ever added."""
        M, known = self._state.memory.M, self._accounts
        for number in range(len(known) + 1, M[layout.ACCOUNTS]):
            at = M[layout.AT_ACCOUNTS] + number * 32
            known[int(M[at]), int(M[at + 1]), int(M[at + 2])] = number
        return known

    # -- subscriptions ------------------------------------------------------------------------

    def subscribe(self, params: Raw, client: Client) -> object:
        """Follow a channel: book, bbo, trades (market), orders (account), blocks, certificates."""
        asked = by_name(params, Subscribe)
        notify = client.notify
        if notify is None:
            raise RpcError(NO_PUSH, "subscriptions need a WebSocket connection")
        if len(client.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise RpcError(TOO_MANY, f"{SUBSCRIPTIONS_MAX} subscriptions are open already")
        channel = self._channel(asked)
        self._subscriptions += 1
        name = f"0x{self._subscriptions:x}"
        resume = None if asked.resume is None else whole(asked.resume)
        later = Later()

        def start() -> None:
            end = channel.listen(lambda body: notify(notification(name, body)), resume)
            client.subscriptions[name] = end

        later.finish(lambda: name)
        client.after_reply.append(start)
        return later

    def _channel(self, asked: Subscribe) -> Any:
        if asked.channel in ("book", "bbo", "trades"):
            if asked.market is None:
                raise RpcError(INVALID_PARAMS, f"name the market of channel {asked.channel}")
            return getattr(self._feeds.markets[self._market(asked.market)], asked.channel)
        if asked.channel == "orders":
            if asked.account is None:
                raise RpcError(INVALID_PARAMS, "name the account of channel orders")
            channel = self._feeds.account(self._account_number(asked.account))
            if channel is None:
                raise RpcError(TOO_MANY, "too many accounts are followed on this node")
            return channel
        if asked.channel in ("blocks", "certificates"):
            return getattr(self._feeds, asked.channel)
        text = f"no channel {asked.channel[:32]!r}: book, bbo, trades, orders, blocks, certificates"
        raise RpcError(UNKNOWN_CHANNEL, text)

    def unsubscribe(self, params: Raw, client: Client) -> object:
        """End a subscription; whether there was one."""
        end = client.subscriptions.pop(by_name(params, Unsubscribe).subscription, None)
        if end is not None:
            end()
        return end is not None

    def trades(self, params: Raw, client: Client) -> object:
        """The last trades of a market, newest last."""
        asked = by_name(params, OfMarket)
        return list(self._feeds.markets[self._market(asked.market)].recent)[-asked.depth :]

    def methods(self) -> dict[str, Method]:
        return {
            "clob_submit": self.submit,
            "clob_submitBatch": self.submit_batch,
            "clob_digest": self.digest,
            "clob_markets": self.markets,
            "clob_book": self.book,
            "clob_trades": self.trades,
            "clob_order": self.order,
            "clob_openOrders": self.open_orders,
            "clob_fills": self.fills,
            "clob_account": self.account,
            "clob_subscribe": self.subscribe,
            "clob_unsubscribe": self.unsubscribe,
        }


def _in_batch(result: object) -> object:
    """A refusal as an item of a list, where it cannot be an error."""
    if isinstance(result, RpcError):
        return {"error": {"code": result.code, "message": result.message, "data": result.data}}
    return result


def _fees(word: int) -> dict[str, int]:
    maker = (word & layout.TERMS_MAKER_MASK) - layout.MAKER_BIAS
    return {"taker_ppm": word >> 32, "maker_ppm": maker}


def _bytes(text: str, what: str) -> bytes:
    """Bytes written as 0x and hexadecimal. Raises `RpcError` -32602."""
    try:
        if text[:2] != "0x":
            raise ValueError
        return bytes.fromhex(text[2:])
    except ValueError:
        raise RpcError(INVALID_PARAMS, f"{what} must be 0x and hexadecimal digits") from None


