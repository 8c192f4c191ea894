"""`rialto wallet`: keys in encrypted files, and what is signed with them.

Before a signature is made, everything that it covers is printed on standard error, in the words
that are signed, and a person is asked (`--yes` answers). Exit code 1: a command is in the chain and
an operation of it was refused by the state.
"""

import argparse
import getpass
import secrets
from collections.abc import Iterator
from typing import Any, Final

import trio

from consensus.genesis import Genesis, parse
from consensus.signatures import ORDER
from node.client.client import Client, open_client
from node.commands import print_report
from node.exceptions import NodeError
from node.key_files import read_l1_key
from node.wallet import operations, options
from node.wallet.amounts import Terms
from node.wallet.asking import agrees, ask_password, shows
from node.wallet.dev_accounts import dev_accounts
from node.wallet.keystore import NO_WALLET, Keystore, decrypt
from node.wallet.nonces import Nonces
from node.wallet.session import CERTIFIED, Outcome, find_signer, send, sign_shown

DEV_ACCOUNTS_MAX: Final = 1000
PASSWORD_CHARACTERS_MIN: Final = 8

add_arguments = options.add_arguments


def run(asked: argparse.Namespace) -> int:
    store = Keystore(asked.keystore)
    if asked.action in ("new", "import"):
        wallet = _make(store, asked)
        print_report({"wallet": wallet.name, "address": "0x" + wallet.address.hex()},
                     as_json=asked.json)  # fmt: skip
        return 0
    if asked.action == "list":
        wallets = {one.name: "0x" + one.address.hex() for one in store.wallets()}
        print_report({"wallets": wallets} if asked.json else wallets, as_json=asked.json)
        return 0
    code: int = trio.run(_on_chain, store, asked)
    return code


def _make(store: Keystore, asked: argparse.Namespace) -> Any:
    """`new` and `import`."""
    store.path(asked.name)  # a bad name is refused before a password is asked for
    if asked.action == "new":
        secret = (1 + secrets.randbelow(ORDER - 1)).to_bytes(32, "big")
        return store.add(asked.name, secret, _new_password(asked))
    if asked.other is not None:
        password = ask_password(asked.password_file, f"Password of {asked.other}: ")
        return store.add(asked.name, decrypt(asked.other, password), password)
    if asked.dev is not None:
        if not 0 <= asked.dev < DEV_ACCOUNTS_MAX:
            text = f"--dev {asked.dev}: give 0 to {DEV_ACCOUNTS_MAX - 1}"
            raise NodeError(operations.BAD_REQUEST, text)
        secret = dev_accounts(asked.dev + 1)[asked.dev].secret
        return store.add(asked.name, secret, _new_password(asked))
    secret = read_l1_key(asked.key_file)
    return store.add(asked.name, secret, _new_password(asked))


async def _on_chain(store: Keystore, asked: argparse.Namespace) -> int:
    genesis = parse(asked.genesis.read_bytes()) if asked.genesis else None
    if asked.action in ("balance", "orders") or getattr(asked, "session", "") == "list":
        await _show(store, asked, genesis)
        return 0
    password = ask_password(asked.password_file, f"Password of {asked.wallet}: ")
    secret = store.unlock(asked.wallet, password)
    account = read_account(asked.account) if asked.account else None
    async with open_client(asked.node, genesis=genesis) as client:
        who = await find_signer(client, secret, account)
        terms = Terms(await client.assets(), await client.markets())
        if asked.action == "sign":
            numbers = {one.name: one.market for one in await client.markets()}
            rows = operations.from_file(asked.operations, numbers)
        else:
            make = operations.ASKS[getattr(asked, "session", asked.action)]
            orders = await client.open_orders(who.signer.account)
            rows = make(asked, terms, orders, (await client.status()).time)
        nonces = Nonces(store.directory)
        agree = agrees if not asked.yes else shows
        command = await sign_shown(client, who, nonces, rows, asked.valid_s * 1000, agree)
        if asked.action == "sign":
            print_report(command.params(), as_json=True)
            return 0
        outcome = await send(client, command, asked.wait)
    _print_outcome(outcome, as_json=asked.json)
    return 1 if outcome.is_refused else 0


# -- what is read ---------------------------------------------------------------------------------


async def _show(store: Keystore, asked: argparse.Namespace, genesis: Genesis | None) -> None:
    account = read_account(asked.account) if asked.account else _address_of(store, asked.wallet)
    async with open_client(asked.node, genesis=genesis) as client:
        if asked.action == "balance":
            await _show_balance(client, account, as_json=asked.json)
        elif asked.action == "orders":
            await _show_orders(client, account, asked.market, as_json=asked.json)
        else:
            found = await client.account(account)
            keys = [
                {"slot": key.slot, "address": key.address, "expires": key.expires,
                 "cap_atoms": key.cap, "used_atoms": key.used, "markets": key.markets}
                for key in found.keys
            ]  # fmt: skip
            _print_rows({"account": found.account}, "keys", keys, as_json=asked.json)


async def _show_balance(client: Client, account: int | str, *, as_json: bool) -> None:
    terms = Terms(await client.assets(), [])
    found = await client.account(account)
    rows = []
    for balance in found.balances:
        asset = terms.asset(str(balance.asset))
        rows.append(
            {"asset": asset.name, "available": terms.amount_text(asset, int(balance.available)),
             "locked": terms.amount_text(asset, int(balance.locked)),
             "available_atoms": balance.available, "locked_atoms": balance.locked}
        )  # fmt: skip
    facts = {"account": found.account, "address": found.address, "nonce": found.nonce}
    _print_rows(facts, "balances", rows, as_json=as_json)


async def _show_orders(
    client: Client, account: int | str, market: str | None, *, as_json: bool
) -> None:
    terms = Terms(await client.assets(), await client.markets())
    number = None if market is None else terms.market(market).market
    found = await client.account(account)
    rows = []
    for order in await client.open_orders(found.account, number):
        of = terms.market(str(order.market))
        rows.append(
            {"market": of.name, "side": order.side, "price": terms.price_text(of, order.price),
             "left": terms.size_text(of, order.left), "ticks": order.price, "lots": order.left,
             "filled_lots": order.filled, "client": order.client, "handle": order.handle}
        )  # fmt: skip
    _print_rows({"account": found.account}, "orders", rows, as_json=as_json)


def _address_of(store: Keystore, name: str) -> str:
    for wallet in store.wallets():
        if wallet.name == name:
            return "0x" + wallet.address.hex()
    text = f"no wallet {name} in {store.directory}"
    raise NodeError(NO_WALLET, f"{text}; `rialto wallet list` shows them")


def read_account(text: str) -> int | str:
    """An account's number, or the address of its owner. Raises `NodeError` 7851."""
    if text.isdecimal() and text.isascii() and len(text) < 10:
        return int(text)
    return "0x" + operations.read_address(text).hex()


# -- what is printed and asked --------------------------------------------------------------------


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "stage": outcome.stage, "height": outcome.height, "sequence": outcome.sequence,
        "proven": outcome.stage == CERTIFIED, "promised": outcome.is_promised,
    }  # fmt: skip
    _print_rows(facts, "events", outcome.events, as_json=as_json)


def _print_rows(
    facts: dict[str, Any], name: str, rows: list[dict[str, Any]], *, as_json: bool
) -> None:
    if as_json:
        print_report(facts | {name: rows}, as_json=True)
        return
    print_report(facts, as_json=False)
    print("\n".join(f"  {'  '.join(_cells(row))}" for row in rows) or f"  no {name}")


def _cells(row: dict[str, Any]) -> Iterator[str]:
    for key, value in row.items():
        yield f"{key} {value}"


def _new_password(asked: argparse.Namespace) -> str:
    password = ask_password(asked.password_file, "New password: ")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        text = f"a password has at least {PASSWORD_CHARACTERS_MIN} characters"
        raise NodeError(operations.BAD_REQUEST, text)
    if asked.password_file is None and getpass.getpass("Again: ") != password:
        raise NodeError(operations.BAD_REQUEST, "the two passwords differ; nothing was made")
    return password
