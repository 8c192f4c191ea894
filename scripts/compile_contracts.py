"""Compile the contracts of `node/l1/contracts/` and write their artefacts beside them.

    python scripts/compile_contracts.py

What lives here: the one way from a source to the bytes that are deployed. `tests/l1/` compiles
again and compares, so a changed source without a changed artefact does not pass.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parents[1]
CONTRACTS: Final = HERE / "node/l1/contracts"


def artefact(source: str) -> dict[str, Any]:
    """ABI and creation bytecode of a Vyper source, with what they were made of."""
    # In the extra `test`; nothing that runs needs a compiler.
    import vyper

    made = vyper.compile_code(source, output_formats=["abi", "bytecode", "bytecode_runtime"])
    return {
        "compiler": f"vyper {vyper.__version__}",
        "source_sha256": sha256(source.encode()).hexdigest(),
        "runtime_bytes": len(made["bytecode_runtime"]) // 2 - 1,
        "abi": made["abi"],
        "bytecode": made["bytecode"],
    }


def text_of(made: dict[str, Any]) -> str:
    """The artefact's one form as a file."""
    return json.dumps(made, indent=1) + "\n"


def main() -> int:
    for source in sorted(CONTRACTS.glob("*.vy")):
        made = artefact(source.read_text("utf-8"))
        source.with_suffix(".json").write_text(text_of(made), "utf-8")
        print(f"{source.name}: {made['runtime_bytes']} bytes of runtime code")
    return 0


if __name__ == "__main__":
    sys.exit(main())
