"""`rialto state ...`: verify, prove, snapshot, export, import.

FILE is a snapshot unless a line says otherwise. What a snapshot says about itself (genesis hash,
height, block hash) is the writer's word; compare the state root with a certified header.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from consensus.chain import genesis_state
from consensus.genesis import parse
from consensus.layout import BUY, HEIGHT, SELL
from consensus.state.export import export, import_
from consensus.state.integrity import statistics, walk
from consensus.state.memory import Memory
from consensus.state.proof import Proof, decode
from consensus.state.snapshot import Facts
from consensus.state.statements import (
    AccountFacts,
    BalanceFacts,
    LevelFacts,
    OrderFacts,
    prove_account,
    prove_balance,
    prove_client_order,
    prove_level,
    prove_order,
    verify_account,
    verify_balance,
    verify_client_order,
    verify_level,
    verify_order,
)
from node.commands import add_json_argument, print_report
from node.exceptions import NodeError
from node.state_file import facts_of, read_snapshot, write_snapshot, write_whole

BAD_ARGUMENT: Final = 7201
SIDES: Final = {"buy": BUY, "sell": SELL}
NO_HASH: Final = "0x" + "00" * 32

Answer: TypeAlias = AccountFacts | BalanceFacts | OrderFacts | LevelFacts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    add_verify(actions.add_parser("verify", help="rebuild the root, walk every law, count"))
    add_proof(actions.add_parser("proof", help="prove one statement, or check a proof of one"))
    add_snapshot(actions.add_parser("snapshot", help="the state a genesis file makes"))
    add_export(actions.add_parser("export", help="a state's records, without indexes"))
    add_import(actions.add_parser("import", help="a snapshot of an export"))


def add_verify(action: argparse.ArgumentParser) -> None:
    action.add_argument("file", metavar="FILE", type=Path)
    add_json_argument(action)
    action.set_defaults(act=verify)


def add_proof(action: argparse.ArgumentParser) -> None:
    action.add_argument("file", metavar="FILE", type=Path)
    question = action.add_mutually_exclusive_group(required=True)
    question.add_argument("--account", metavar="ADDRESS", help="it exists, or does not")
    question.add_argument("--balance", nargs=2, metavar=("ADDRESS", "ASSET"))
    question.add_argument("--order", nargs=2, metavar=("MARKET", "HANDLE"))
    question.add_argument("--client-order", nargs=2, metavar=("ADDRESS", "CLIENT_ID"))
    question.add_argument("--level", nargs=3, metavar=("MARKET", "buy|sell", "PRICE"))
    action.add_argument("--out", metavar="PROOF", type=Path, help="write the proof's bytes here")
    action.add_argument(
        "--root", metavar="HEX", help="FILE is a proof: check it against this state root"
    )
    add_json_argument(action)
    action.set_defaults(act=proof)


def add_snapshot(action: argparse.ArgumentParser) -> None:
    action.add_argument("--genesis", metavar="GENESIS", type=Path, required=True)
    action.add_argument("--out", metavar="FILE", type=Path, required=True)
    add_json_argument(action)
    action.set_defaults(act=snapshot)


def add_export(action: argparse.ArgumentParser) -> None:
    action.add_argument("file", metavar="FILE", type=Path)
    action.add_argument("--out", metavar="EXPORT", type=Path, required=True)
    add_json_argument(action)
    action.set_defaults(act=export_file)


def add_import(action: argparse.ArgumentParser) -> None:
    action.add_argument("file", metavar="EXPORT", type=Path)
    action.add_argument("--out", metavar="FILE", type=Path, required=True)
    action.add_argument("--genesis-hash", metavar="HEX", default=NO_HASH)
    action.add_argument("--block-hash", metavar="HEX", default=NO_HASH)
    add_json_argument(action)
    action.set_defaults(act=import_file)


def run(arguments: argparse.Namespace) -> int:
    act: Callable[[argparse.Namespace], int] = arguments.act
    return act(arguments)


def verify(arguments: argparse.Namespace) -> int:
    """Exit code 1 if the walk finds anything."""
    facts, memory = read_snapshot(arguments.file)
    findings = walk(memory)
    report: dict[str, object] = described(facts) | {"findings": len(findings)}
    if not findings:
        report |= statistics(memory)
    if arguments.json:
        listed = [finding._asdict() for finding in findings]
        print_report(report | {"findings": listed}, as_json=True)
    else:
        print_flat(report)
        for found in findings:
            where = f"region {found.region}, {found.record}, {found.field}"
            print(f"E{found.number} {where}: is {found.seen}, must be {found.expected}")
    return 1 if findings else 0


class Question(NamedTuple):
    """A statement: how its proof is made from a memory, and read under a root."""

    statement: str
    prove: Callable[[Memory], Proof]
    verify: Callable[[bytes, bytes], Answer | None]


def proof(arguments: argparse.Namespace) -> int:
    """What is printed as the answer was read out of the proof's bytes, as a verifier reads it."""
    asked = question(arguments)
    if arguments.root is not None:
        root, data = hexadecimal(arguments.root, 32), arguments.file.read_bytes()
    else:
        facts, memory = read_snapshot(arguments.file)
        root, data = facts.state_root, asked.prove(memory).encode()
    answer = asked.verify(root, data)
    report: dict[str, object] = {
        "statement": asked.statement,
        "state_root": "0x" + root.hex(),
        "answer": described_answer(answer) if answer else None,
        "leaves": len(decode(data).indexes),
        "proof_bytes": len(data),
    }
    if arguments.out:
        write_whole(arguments.out, [data])
    elif arguments.root is None:
        report["proof"] = "0x" + data.hex()
    if arguments.json:
        print_report(report, as_json=True)
    else:
        words = "absent"
        if answer:
            words = ", ".join(f"{name} {word}" for name, word in described_answer(answer).items())
        print_report(report | {"answer": words}, as_json=False)
    return 0


def described_answer(answer: Answer) -> dict[str, object]:
    facts: dict[str, object] = answer._asdict()
    if "handle" in facts:  # handles are strings in JSON: they do not fit a double
        facts["handle"] = str(facts["handle"])
    return facts


def question(arguments: argparse.Namespace) -> Question:
    """The one question on the command line. NodeError 7201 for words that ask nothing."""
    if arguments.account is not None:
        owner = address(arguments.account)
        return Question(
            "account", lambda m: prove_account(m, owner), lambda r, d: verify_account(r, d, owner)
        )
    if arguments.balance:
        owner, asset = address(arguments.balance[0]), integer(arguments.balance[1])
        return Question(
            "balance",
            lambda m: prove_balance(m, owner, asset),
            lambda r, d: verify_balance(r, d, owner, asset),
        )
    if arguments.level:
        market, side, price = arguments.level
        if side not in SIDES:
            raise NodeError(BAD_ARGUMENT, f"{side!r} is not a side; write buy or sell")
        place = integer(market), SIDES[side], integer(price)
        return Question(
            "level", lambda m: prove_level(m, *place), lambda r, d: verify_level(r, d, *place)
        )
    if arguments.order:
        name = integer(arguments.order[0]), integer(arguments.order[1])
        return Question(
            "order", lambda m: prove_order(m, *name), lambda r, d: verify_order(r, d, *name)
        )
    owner, client = address(arguments.client_order[0]), integer(arguments.client_order[1])
    return Question(
        "order",
        lambda m: prove_client_order(m, owner, client),
        lambda r, d: verify_client_order(r, d, owner, client),
    )


def snapshot(arguments: argparse.Namespace) -> int:
    state = genesis_state(parse(arguments.genesis.read_bytes()))
    height = state.head.height
    facts = facts_of(state.memory, height, state.chain.genesis_hash, state.head_hash)
    size = write_snapshot(state.memory, facts, arguments.out)
    print_report(described(facts) | {"snapshot_bytes": size}, as_json=arguments.json)
    return 0


def export_file(arguments: argparse.Namespace) -> int:
    facts, memory = read_snapshot(arguments.file)
    size = write_whole(arguments.out, [export(memory)])
    print_report(described(facts) | {"export_bytes": size}, as_json=arguments.json)
    return 0


def import_file(arguments: argparse.Namespace) -> int:
    memory = import_(arguments.file.read_bytes())
    hashes = hexadecimal(arguments.genesis_hash, 32), hexadecimal(arguments.block_hash, 32)
    facts = facts_of(memory, int(memory.M[HEIGHT]), *hashes)
    size = write_snapshot(memory, facts, arguments.out)
    print_report(described(facts) | {"snapshot_bytes": size}, as_json=arguments.json)
    return 0


def described(facts: Facts) -> dict[str, object]:
    return {
        "state_root": "0x" + facts.state_root.hex(),
        "height": facts.height,
        "genesis_hash": "0x" + facts.genesis_hash.hex(),
        "block_hash": "0x" + facts.block_hash.hex(),
    }


def print_flat(report: dict[str, object]) -> None:
    """A report whose lists of records become one line per record."""
    lines: dict[str, object] = {}
    for key, value in report.items():
        if not isinstance(value, list):
            lines[key] = value
            continue
        for entry in value:
            (kind, number), *rest = entry.items()
            lines[f"{kind} {number}"] = ", ".join(f"{name} {item}" for name, item in rest)
    print_report(lines, as_json=False)


def integer(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise NodeError(BAD_ARGUMENT, f"{text!r} is not a number of decimal digits")
    return int(text)


def address(text: str) -> bytes:
    return hexadecimal(text, 20)


def hexadecimal(text: str, size: int) -> bytes:
    digits = text.removeprefix("0x")
    if len(digits) == 2 * size and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return bytes.fromhex(digits)
    raise NodeError(BAD_ARGUMENT, f"{text!r} is not 0x and {2 * size} hexadecimal digits")
