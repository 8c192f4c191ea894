"""ethers and viem sign the same order alike, and a node takes it.

Needs node and npm, and a package index that npm reaches: the libraries of js/package.json here
are installed beside it at first use. Without them the test is skipped with the reason.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from dev_process import dev_process

from node.wallet.dev_accounts import dev_accounts

JS: Final = Path(__file__).resolve().parent / "js"
INSTALL_S_MAX: Final = 300

pytestmark = [pytest.mark.node_js, pytest.mark.slow]


@pytest.fixture(scope="session")
def libraries() -> Path:
    """The folder of the script, with its libraries."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node and npm on the path: ethers and viem are not tested")
    if not all((JS / "node_modules" / name).is_dir() for name in ("ethers", "viem")):
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        command.append("--no-package-lock")
        try:
            done = subprocess.run(
                command, cwd=JS, capture_output=True, text=True, timeout=INSTALL_S_MAX
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not install ethers and viem in five minutes: not tested")
        if done.returncode != 0:
            pytest.skip(f"npm cannot install ethers: {done.stderr.strip().splitlines()[-1:]}")
    return JS


def test_ethers_and_viem_sign_alike_and_both_orders_rest(libraries: Path) -> None:
    with dev_process() as dev:
        key = "0x" + dev_accounts(3)[2].secret.hex()
        command = ["node", "order.mjs", f"http://127.0.0.1:{dev.port}", key]
        done = subprocess.run(command, cwd=libraries, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"agree": True, "answers": [["rested"], ["rested"]]}
