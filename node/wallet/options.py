"""The options of `rialto wallet`, action by action.

What lives here: names, defaults, help. What must never live here: what an action does.
"""

import argparse
from pathlib import Path
from typing import Final

from node.rpc.operations import POSTS, TIFS, TYPES
from node.wallet.session import CERTIFIED, SEQUENCED

VALID_S: Final = 60
VALID_S_MAX: Final = 86_000
"""A day is the most that the chain takes; its clock and ours may differ by minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every action with its options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    make = _store(actions.add_parser("new", help="make a key, encrypted with a password"))
    make.add_argument("name")
    take = _store(actions.add_parser("import", help="take a key or a keystore file over"))
    take.add_argument("name")
    source = take.add_mutually_exclusive_group(required=True)
    source.add_argument("--key-file", type=Path, metavar="FILE", help="32 bytes in hexadecimal")
    source.add_argument("--from", type=Path, dest="other", metavar="FILE",
                        help="a version 3 keystore file with the same password")  # fmt: skip
    source.add_argument("--dev", type=int, metavar="N", help="account N of `rialto dev`")
    _store(actions.add_parser("list", help="names and addresses"), password=False)
    balance = _node(_store(actions.add_parser("balance", help="funds"), password=False))
    _reads(balance)
    orders = _node(_store(actions.add_parser("orders", help="open orders"), password=False))
    _reads(orders)
    orders.add_argument("--market", metavar="NAME")
    _add_commands(actions)
    session = actions.add_parser("session", help="grant, revoke or list session keys")
    _add_session(session)


def _add_commands(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sign = _signs(actions.add_parser("sign", help="sign operations of a file and send nothing"))
    sign.add_argument("--operations", type=Path, required=True, metavar="FILE")
    place = _sends(actions.add_parser("place", help="place an order"))
    place.add_argument("market", help="name or number")
    place.add_argument("side", choices=("buy", "sell"))
    _price_and_quantity(place)
    place.add_argument("--atoms", type=whole, metavar="N", help="what a budget order may spend")
    place.add_argument("--type", choices=tuple(TYPES), default="limit")
    place.add_argument("--tif", choices=tuple(TIFS), default="gtc")
    place.add_argument("--post", choices=tuple(POSTS), default="no")
    place.add_argument("--client", type=whole, metavar="N", help="client id")
    place.add_argument("--display", type=whole, default=0, metavar="LOTS")
    place.add_argument("--minimum", type=whole, default=0, metavar="LOTS")
    place.add_argument("--live-s", type=float, metavar="SECONDS", help="how long the order lives")
    place.add_argument("--reduce-only", action="store_true")
    cancel = _sends(actions.add_parser("cancel", help="cancel an order or all"))
    _which(cancel)
    cancel.add_argument("--all", action="store_true")
    amend = _sends(actions.add_parser("amend", help="change price and total of an order"))
    _which(amend)
    _price_and_quantity(amend)
    transfer = _sends(actions.add_parser("transfer", help="move funds to another account"))
    transfer.add_argument("--to", type=whole, required=True, metavar="ACCOUNT")
    add_amount(transfer)
    withdraw = _sends(actions.add_parser("withdraw", help="move funds to an L1 address"))
    withdraw.add_argument("--to", required=True, metavar="ADDRESS")
    add_amount(withdraw)


def _add_session(session: argparse.ArgumentParser) -> None:
    actions = session.add_subparsers(metavar="WHAT", required=True, dest="session")
    _reads(_node(_store(actions.add_parser("list"), password=False)))
    grant = _sends(actions.add_parser("grant"))
    grant.add_argument("slot", type=int, choices=(1, 2, 3, 4))
    grant.add_argument("address", help="of the key, as `rialto wallet list` shows it")
    grant.add_argument("--market", action="append", required=True, metavar="NAME")
    grant.add_argument("--days", type=float, required=True)
    grant.add_argument("--cap", required=True, metavar="AMOUNT", help="notional a day, in --quote")
    grant.add_argument("--quote", required=True, metavar="ASSET")
    grant.add_argument("--reduce-only", action="store_true")
    revoke = _sends(actions.add_parser("revoke"))
    revoke.add_argument("slot", type=int, choices=(1, 2, 3, 4))


def _store(parser: argparse.ArgumentParser, *, password: bool = True) -> argparse.ArgumentParser:
    parser.add_argument("--keystore", type=Path, default=Path.home() / ".rialto" / "keystore",
                        metavar="DIR", help="default ~/.rialto/keystore")  # fmt: skip
    if password:
        parser.add_argument("--password-file", type=Path, metavar="FILE",
                            help="instead of asking; one line, mode 0600")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _node(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--node", default="ws://127.0.0.1:8545", metavar="URL")
    parser.add_argument("--genesis", type=Path, metavar="FILE",
                        help="the chain it must be; proofs then hold against any node")  # fmt: skip
    return parser


def _reads(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--wallet", metavar="NAME")
    who.add_argument("--account", metavar="N|ADDRESS")


def _signs(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    _node(_store(parser))
    parser.add_argument("--wallet", required=True, metavar="NAME")
    parser.add_argument("--account", metavar="N|ADDRESS", help="for a session key: whose it is")
    parser.add_argument("--valid-s", type=_validity, default=VALID_S, metavar="SECONDS",
                        help="until when the chain may take it (default 60)")  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="sign without asking")
    return parser


def _sends(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    _signs(parser)
    parser.add_argument("--wait", choices=(SEQUENCED, CERTIFIED), default=SEQUENCED,
                        help="the stage to wait for (default sequenced)")  # fmt: skip
    return parser


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", type=whole, metavar="N")
    parser.add_argument("--market", metavar="NAME")
    parser.add_argument("--handle", type=whole, metavar="N")


def _price_and_quantity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--price", metavar="DECIMAL", help="quote for one unit of base")
    parser.add_argument("--ticks", type=whole, metavar="N")
    parser.add_argument("--size", metavar="DECIMAL", help="units of base")
    parser.add_argument("--lots", type=whole, metavar="N")


def add_amount(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--asset", required=True, metavar="NAME")
    parser.add_argument("--amount", metavar="DECIMAL")
    parser.add_argument("--atoms", type=whole, metavar="N")


def whole(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number below 2^63")
    return int(text)


def _validity(text: str) -> int:
    seconds = whole(text)
    if not 0 < seconds <= VALID_S_MAX:
        raise argparse.ArgumentTypeError(f"give 1 to {VALID_S_MAX} seconds")
    return seconds
