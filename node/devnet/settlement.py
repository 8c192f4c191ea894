"""After the flow: somebody leaves with money, L1 has everything, and the chain is derived from it.

What lives here: the commands that a person would type, their answers compared, what L1 says it
cost. What must never live here: a shortcut past a command, or a tolerance.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from node.devnet.bridge import LocalChain, Owner
from node.devnet.connection import Connection
from node.exceptions import NodeError
from node.flow.replay import BASE
from node.key_files import write_secret
from node.l1.contract import Summary
from node.l1.history import History, read_history
from node.l1.http import HttpL1
from node.l1.tokens import balance_of

COMMAND_FAILED: Final = 7749
REFUSED: Final = 2
WALLET: Final = "leaver"
WITHDRAWN_ATOMS: Final = 12_345_678
PASSWORD: Final = "worthless money\n"


@dataclass(frozen=True)
class Withdrawn:
    """A command to leave: its block, and the index of its withdrawal."""

    height: int
    index: int
    promised: float


class Leaver:
    """One owner, with a keystore of its own in `folder`."""

    def __init__(self, folder: Path, chain: LocalChain, owner: Owner) -> None:
        self._owner: Final = owner
        self._chain: Final = chain
        self._keys: Final = folder / "keystore"
        self._key: Final = folder / "leaver.key"
        self._password: Final = folder / "leaver.password"
        write_secret(self._key, owner.secret.hex() + "\n")
        write_secret(self._password, PASSWORD)

    def _signed(self, *arguments: str) -> list[str]:
        more = ["--keystore", str(self._keys), "--password-file", str(self._password), "--json"]
        return [*arguments, *more]

    def _claim(self, url: str, *more: str) -> list[str]:
        chain = self._chain
        return self._signed(
            "l1", "withdraw", "--l1", chain.url, "--deployment", str(chain.deployment_file),
            "--genesis", str(chain.genesis_file), "--node", url, "--wallet", WALLET, "--yes", *more,
        )  # fmt: skip

    async def withdraw(self, url: str) -> Withdrawn:
        """`rialto wallet withdraw`, signed and sent to the node at `url`."""
        await _run(self._signed("wallet", "import", WALLET, "--key-file", str(self._key)))
        asset = self._chain.genesis.assets[BASE].symbol
        answer = await _run(
            self._signed(
                "wallet", "withdraw", "--node", url, "--genesis", str(self._chain.genesis_file),
                "--wallet", WALLET, "--asset", asset, "--atoms", str(WITHDRAWN_ATOMS),
                "--to", "0x" + self._owner.address.hex(), "--yes",
            )
        )  # fmt: skip
        (event,) = answer["events"]
        return Withdrawn(answer["height"], event["index"], trio.current_time())

    async def claim(self, url: str, withdrawn: Withdrawn) -> list[str]:
        """`rialto l1 withdraw`, twice; what is not as it must be, one sentence each."""
        before = await self._balance()
        answer = await _run(self._claim(url))
        gained = await self._balance() - before
        _, scale = self._chain.deployment.assets[BASE]
        faults = []
        if gained != WITHDRAWN_ATOMS * scale or answer.get("atoms") != {str(BASE): WITHDRAWN_ATOMS}:
            faults.append(f"a withdrawal of {WITHDRAWN_ATOMS * scale} L1 units paid {gained}")
        again = await _run(self._claim(url, "--index", str(withdrawn.index)), refused=True)
        if "contract refuses: claimed" not in again["error"]:
            faults.append(f"a second claim is answered with {again['error']}")
        return faults

    async def _balance(self) -> int:
        token, _ = self._chain.deployment.assets[BASE]
        l1 = HttpL1(self._chain.url)
        try:
            return await balance_of(l1, token, self._owner.address)
        finally:
            await l1.close()


async def differences(chain: LocalChain, doors: Sequence[Connection], height: int) -> list[str]:
    """Where the contract's roots are not those of every node."""
    history = await history_of(chain)
    found = []
    if history.summaries[history.final].last_height < height:
        found.append(f"block {height} is in no final batch")
    for number, summary in enumerate(history.summaries[1:], 1):
        for door in doors:
            header = await door.call("chain_getHeader", height=summary.last_height)
            if not _agrees(header, summary):
                text = f"{door.url} has another block {summary.last_height}"
                found.append(f"{text} than batch {number} on L1")
    return found


def _agrees(header: dict[str, Any], summary: Summary) -> bool:
    named = (header["hash"], header["state_root"], header["l1_messages"])
    root, last = summary.post_state_root, summary.last_hash
    return named == ("0x" + last.hex(), "0x" + root.hex(), summary.l1_messages)


async def history_of(chain: LocalChain) -> History:
    l1 = HttpL1(chain.url)
    try:
        return await read_history(l1, chain.deployment)
    finally:
        await l1.close()


async def derived_differences(derived: dict[str, Any], doors: Sequence[Connection]) -> list[str]:
    """Where what was derived from L1 is not what the nodes have."""
    height, root = derived["height"], derived["state_root"]
    found = []
    for door in doors:
        header = await door.call("chain_getHeader", height=height)
        if header["state_root"] != "0x" + root:
            found.append(f"block {height} derived from L1 has the root {root}, {door.url} another")
    return found


def described(chain: LocalChain, derived: dict[str, Any]) -> dict[str, object]:
    """The L1 part of the report."""
    return {
        "batches": derived["batches"],
        "blobs": derived["blobs"],
        "bytes_per_command": derived["bytes_per_command"],
        "bytes_per_command_signed": derived["bytes_per_command_signed"],
        "gas_per_command": derived["gas_per_command"],
        "blob_gas_per_command": round(derived["blob_gas"] / max(1, derived["commands"]), 2),
        "deploy_gas": chain.gas,
        "derived_height": derived["height"],
        "derived_root": derived["state_root"],
        "derive_s": derived["derive_s"],
    }


async def derive(chain: LocalChain, blobs: str) -> dict[str, Any]:
    """`rialto derive`: the chain out of genesis, L1 and the blobs that this place gives out."""
    return await _run(
        ["derive", "--l1", chain.url, "--genesis", str(chain.genesis_file), "--deployment",
         str(chain.deployment_file), "--blobs", blobs, "--json"]
    )  # fmt: skip


async def _run(arguments: list[str], *, refused: bool = False) -> dict[str, Any]:
    """A command's JSON, or its one line of refusal. Raises `NodeError` 7749 for anything else."""
    done = await trio.run_process(
        [sys.executable, "-m", "node.cli", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    errors = done.stderr.decode("utf-8", "replace").strip()
    if refused and done.returncode == REFUSED:
        return {"error": errors.splitlines()[-1]}
    if refused or done.returncode:
        said = errors.splitlines()[-1] if errors else "nothing"
        name = " ".join(arguments[:2])
        text = f"rialto {name} ended with code {done.returncode} and said: {said}"
        raise NodeError(COMMAND_FAILED, text)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
