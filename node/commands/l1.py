"""`rialto l1`: the L1 side of a chain: its contract, and money in and out.

What is signed is shown on standard error first, and a person is asked (`--yes` answers). A call
that the contract would refuse is not sent: its reason is the error.
"""

import argparse
import json
import sys
from functools import partial

import trio

from node.commands import print_report
from node.config import read_address as read_endpoint
from node.l1 import options
from node.l1.actions import ACTIONS, Report
from node.l1.http import HttpL1
from node.process import end_asked
from node.wallet.operations import read_address

add_arguments = options.add_arguments


def run(asked: argparse.Namespace) -> int:
    if asked.action == "serve":
        trio.run(_serve, asked)
        return 0
    report = trio.run(_act, asked)
    print_report(report, as_json=asked.json)
    return 0


async def _act(asked: argparse.Namespace) -> Report:
    l1 = HttpL1(asked.l1)
    try:
        return await ACTIONS[asked.action](l1, asked)
    finally:
        await l1.close()


async def _serve(asked: argparse.Namespace) -> None:
    """Until SIGINT or SIGTERM. Standard output has one JSON line once it answers."""
    # The extra `l1` brings py-evm; whoever only calls a real L1 does without.
    from node.l1.embedded.rpc import EmbeddedL1
    from node.l1.embedded.service import funded, l1_server, make_blocks

    balances = funded(map(read_address, asked.fund))
    l1 = EmbeddedL1(
        balances, automine=False, chain_id=asked.chain_id, epoch_blocks=asked.epoch_blocks
    )
    server = l1_server(l1, read_endpoint("--rpc", asked.rpc))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        nursery.start_soon(partial(make_blocks, l1, asked.block_s))
        line = {"rpc": server.port, "chain_id": asked.chain_id, "block_s": asked.block_s}
        print(json.dumps(line | {"accounts": ["0x" + one.hex() for one in balances]}), flush=True)
        sys.stdout.flush()
        await end_asked(trio.Event())
        server.stop()
        await server.ended.wait()
        nursery.cancel_scope.cancel()
