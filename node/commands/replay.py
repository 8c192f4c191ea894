"""`rialto replay bitstamp|FILE`: a recorded flow through the core, block by block, on two chains.

The report is described in docs/operators.md. Exit code 1 if the whole Bitstamp sample was replayed
and the fills are not the venue's.
"""

import argparse
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from consensus.block import Block
from consensus.da import payload
from node.build_check import compiled_state
from node.commands import add_json_argument, print_report
from node.exceptions import NodeError
from node.flow.bitstamp import Flow, Message, fills_digest, read_flow
from node.flow.fetch import fetch_sample
from node.flow.orders import FLOW_LINE, check_wallets, read_lines
from node.flow.replay import Replay
from node.flow.wallets import Signatures
from node.progress import progress

FLOW_EMPTY: Final = 7107
BLOCK_MESSAGES: Final = 7108
UNTIL: Final = 7109

BITSTAMP: Final = "bitstamp"
BLOCK_MESSAGES_MAX: Final = 20_000
"""Half of the rows of a block are headers at worst, and a million rate tokens are a second's."""
REFUSALS: Final = (
    "MALFORMED", "UNKNOWN_MARKET", "MARKET_HALTED", "PRICE_RANGE", "PRICE_BAND", "LOTS_RANGE",
    "MIN_NOTIONAL", "DISPLAY", "EXPIRED", "CLIENT_ID_TAKEN", "ORDERS_MAX", "FUNDS",
    "POST_ONLY_CROSS", "UNFILLABLE", "WORK_LIMIT", "UNKNOWN_ORDER", "REDUCE_ONLY", "KEY_SCOPE",
    "KEY_CAP", "UNKNOWN_ASSET", "UNKNOWN_ACCOUNT", "AMOUNT_RANGE", "KEY_SLOT", "SCHEDULE_FULL",
    "CHAIN_HALTED", "ACCOUNTS_FULL", "SUPPLY", "LISTING", "LISTING_FULL", "PARAMETER_RANGE",
    "NOT_ALLOWED",
)  # fmt: skip
"""Names of refusal 1, 2, ... as in docs/protocol/events.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "flow", metavar="bitstamp|FILE", help="the recorded sample, or messages in JSON lines"
    )
    parser.add_argument("--until", type=int, metavar="N", help="replay the first N messages only")
    parser.add_argument(
        "--block-messages", type=int, default=1000, metavar="K", help="messages to a block"
    )
    parser.add_argument("--wallets", type=int, default=16, metavar="W", help="who sends them")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    size = arguments.block_messages
    if not 0 < size <= BLOCK_MESSAGES_MAX:
        text = f"{size} messages to a block: give 1 to {BLOCK_MESSAGES_MAX}"
        raise NodeError(BLOCK_MESSAGES, text)
    if arguments.until is not None and arguments.until < 1:
        raise NodeError(UNTIL, f"--until {arguments.until}: give 1 or more, or leave it out")
    check_wallets(arguments.wallets)
    flow = load(arguments.flow)
    messages = flow.messages[: arguments.until]
    if not messages:
        raise NodeError(FLOW_EMPTY, "the flow has no messages to replay")
    with Signatures() as signatures:
        replay = Replay(arguments.wallets, messages[0].time_ms, signatures)
        replay.grant()
        with progress(len(messages), "messages", quiet=arguments.json) as advance:
            for at in range(0, len(messages), size):
                part = messages[at : at + size]
                replay.step(part)
                advance(len(part))
    report = report_of(replay, messages)
    matches = None
    if arguments.flow == BITSTAMP and len(messages) == len(flow.messages):
        matches = report["fills_digest"] == fills_digest(flow.trades)
    report = {**report, "fills_match_venue": matches}
    print_report(report if arguments.json else flattened(report), as_json=arguments.json)
    return 1 if matches is False else 0


def load(name: str) -> Flow:
    if name == BITSTAMP:
        return read_flow(fetch_sample())
    with Path(name).open(encoding="utf-8") as file:
        try:
            return Flow(list(read_lines(file)), [], ())
        except UnicodeDecodeError as error:
            text = f"{name} is no text in UTF-8, so no flow in JSON lines: {error}"
            raise NodeError(FLOW_LINE, text) from error


def report_of(replay: Replay, messages: Sequence[Message]) -> dict[str, object]:
    times, findings, head = replay.times, replay.findings, replay.follower.head
    applying = times.apply - times.recover
    return {
        "messages": len(messages),
        "trades": len(findings.trades),
        "volume": sum(trade.quantity for trade in findings.trades),
        "fills_digest": fills_digest(findings.trades),
        "blocks": head.height,
        "state_root": head.state_root.hex(),
        "market_root": replay.market_root().hex(),
        "messages_per_s": round(len(messages) / applying),
        "signatures_per_s": round(times.signatures / times.recover),
        "signatures": times.signatures,
        "apply_s": round(applying, 3),
        "recover_s": round(times.recover, 3),
        "sign_s": round(times.sign, 3),
        "refused": {
            REFUSALS[number - 1]: count for number, count in sorted(findings.refused.items())
        },
        "self_trades": findings.self_trades,
        **sizes_of(replay.blocks, head.sequence),
        "core": compiled_state(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def sizes_of(blocks: Sequence[Block], operations: int) -> dict[str, object]:
    """Bytes per command in the data-availability encoding: signatures left out, and posted."""
    began = perf_counter()
    plain = signed = 0
    for batch in batches(blocks):
        bodies = [body_of(block, block.signatures) for block in batch]
        signed += len(payload.compress(payload.encode(bodies)))
        bodies = [body_of(block, block.header.signatures_root) for block in batch]
        plain += len(payload.compress(payload.encode(bodies)))
    return {
        "bytes_per_command": round(plain / operations, 2),
        "bytes_per_command_signed": round(signed / operations, 2),
        "encode_s": round(perf_counter() - began, 3),
    }


def batches(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Consecutive blocks, as many as one payload may hold."""
    batch: list[Block] = []
    room = payload.ROWS_MAX
    for block in blocks:
        rows = (len(block.messages) + len(block.commands)) // 64
        if batch and (rows > room or len(batch) == payload.BLOCKS_MAX):
            yield batch
            batch, room = [], payload.ROWS_MAX
        batch.append(block)
        room -= rows
    if batch:
        yield batch


def body_of(block: Block, signatures: bytes) -> payload.BlockBody:
    header = block.header
    return payload.BlockBody(
        time=header.time,
        round=header.round,
        proposer=header.proposer,
        l1_number=header.l1_number,
        l1_hash=header.l1_hash,
        l1_time=header.l1_time,
        messages=block.messages,
        commands=block.commands,
        signatures=signatures,
    )


def flattened(report: dict[str, object]) -> dict[str, object]:
    """The report for people: nested counts get a line each, numbers are grouped by thousands."""
    lines: dict[str, object] = {}
    for key, value in report.items():
        if isinstance(value, dict):
            lines.update({f"{key} {name}": f"{count:,}" for name, count in value.items()})
        elif isinstance(value, int) and not isinstance(value, bool):
            lines[key] = f"{value:,}"
        else:
            lines[key] = "not compared" if value is None else value
    return lines
