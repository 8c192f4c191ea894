"""The options of `rialto l1`, action by action.

What lives here: names, defaults, help. What must never live here: what an action does.
"""

import argparse
from pathlib import Path
from typing import Final

from node.commands import add_json_argument
from node.wallet.options import add_amount, whole

URL: Final = "http://127.0.0.1:8645"
BLOCK_S: Final = 1.0
EPOCH_BLOCKS: Final = 4
DAY_S: Final = 86_400
TIMES: Final = (
    ("window_s", DAY_S, "between commit and finalize: the guardian's time to act"),
    ("deadline_s", DAY_S // 4, "after which a commit may not skip an item of the queue"),
    ("freeze_after_s", 3 * DAY_S, "after which a waiting item lets anyone freeze the contract"),
    ("delay_s", 7 * DAY_S, "between what the governor announces and its being carried out"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every action with its options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    serve = actions.add_parser("serve", help="an L1 in memory for this machine, keys known to all")
    serve.add_argument("--rpc", default="127.0.0.1:8645", metavar="HOST:PORT")
    serve.add_argument("--block-s", type=_seconds, default=BLOCK_S, metavar="SECONDS")
    serve.add_argument("--epoch-blocks", type=whole, default=EPOCH_BLOCKS, metavar="N",
                       help="safe and finalized are one and two epochs behind")  # fmt: skip
    serve.add_argument("--chain-id", type=whole, default=1337, metavar="N")
    serve.add_argument("--fund", action="append", default=[], metavar="ADDRESS",
                       help="a million ether for this account too; repeatable")  # fmt: skip
    add_json_argument(serve)
    _add_deploy(actions.add_parser("deploy", help="make the contract of a genesis file"))
    status = _deployed(_l1(actions.add_parser("status", help="what L1 knows of a chain")))
    status.add_argument("--address", metavar="ADDRESS", help="show its L1 funds too")
    _add_money(actions)
    token = _signs(_l1(actions.add_parser("dev-token", help="make a token that is worth nothing")))
    token.add_argument("--symbol", required=True)
    token.add_argument("--decimals", type=whole, default=18)
    mint = _signs(_l1(actions.add_parser("dev-mint", help="units of such a token, for yourself")))
    mint.add_argument("--token", required=True, metavar="ADDRESS")
    mint.add_argument("--units", type=whole, required=True, metavar="N")


def _add_deploy(deploy: argparse.ArgumentParser) -> None:
    _signs(_l1(deploy))
    deploy.add_argument("--genesis", type=Path, metavar="FILE")
    deploy.add_argument("--predict", action="store_true",
                        help="only say which address the genesis file has to name")  # fmt: skip
    deploy.add_argument("--output", type=Path, default=Path("deployment.json"), metavar="FILE")
    deploy.add_argument("--member", action="append", default=[], metavar="ADDRESS",
                        help="attester of the committee; repeatable")  # fmt: skip
    deploy.add_argument("--guardian", metavar="ADDRESS")
    deploy.add_argument("--governor", metavar="ADDRESS")
    deploy.add_argument("--asset", action="append", default=[], metavar="SYMBOL=TOKEN",
                        help="L1 token of each asset: an address, or `ether`")  # fmt: skip
    for name, seconds, text in TIMES:
        deploy.add_argument(f"--{name.replace('_', '-')}", type=whole, default=seconds,
                            metavar="SECONDS", help=f"{text} (default {seconds})")  # fmt: skip
    deploy.add_argument("--bond", type=whole, default=10**18, metavar="WEI")


def _add_money(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    deposit = _moves(actions.add_parser("deposit", help="move L1 funds to the account of a key"))
    add_amount(deposit)
    force = _moves(actions.add_parser("force", help="operations that L2 cannot leave out"))
    force.add_argument("--operations", type=Path, required=True, metavar="FILE",
                       help="a JSON list of 1 to 8, as `rialto wallet sign` takes")  # fmt: skip
    withdraw = _moves(actions.add_parser("withdraw", help="be paid what was withdrawn on L2"))
    source = withdraw.add_mutually_exclusive_group()
    source.add_argument("--node", default="ws://127.0.0.1:8545", metavar="URL")
    source.add_argument("--withdrawals", type=Path, metavar="FILE",
                        help="in a node's place: what `rialto derive` wrote")  # fmt: skip
    withdraw.add_argument("--index", type=whole, metavar="N", action="append",
                          help="a withdrawal's index; default: all of this key")  # fmt: skip
    _moves(actions.add_parser("freeze", help="end the chain, if its queue is not served"))
    leave = _moves(actions.add_parser("exit", help="be paid from the final state of a frozen one"))
    leave.add_argument("--state", type=Path, metavar="FILE", help="a snapshot of the final state")
    leave.add_argument("--data-dir", type=Path, metavar="DIR", help="a stopped node's, there")
    leave.add_argument("--account", metavar="ADDRESS", help="whose; default: this key's")
    _moves(actions.add_parser("refund", help="be paid back deposits that the chain has not seen"))


def _moves(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    return _deployed(_signs(_l1(parser)))


def _l1(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--l1", default=URL, metavar="URL", help=f"default {URL}")
    add_json_argument(parser)
    return parser


def _deployed(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--deployment", type=Path, default=Path("deployment.json"), metavar="FILE")
    parser.add_argument("--genesis", type=Path, required=True, metavar="FILE")
    return parser


def _signs(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--wallet", metavar="NAME", help="of `rialto wallet`")
    who.add_argument("--key-file", type=Path, metavar="FILE", help="32 bytes in hexadecimal")
    parser.add_argument("--keystore", type=Path, default=Path.home() / ".rialto" / "keystore",
                        metavar="DIR", help="default ~/.rialto/keystore")  # fmt: skip
    parser.add_argument("--password-file", type=Path, metavar="FILE",
                        help="instead of asking; one line, mode 0600")  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="sign without asking")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("give 0.01 to 3600 seconds")
    return seconds
