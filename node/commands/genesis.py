"""`rialto genesis check FILE...`: is this a genesis file, what is its hash, how much memory is it.

Exit code 1 if any file has a fault; each fault is one line that names its field. With `--json` the
result is one object with an entry per file, faults included.
"""

import argparse
from pathlib import Path

from consensus.exceptions import InvalidGenesis
from consensus.genesis import Genesis, memory_words, parse
from node.commands import add_json_argument, print_report
from node.l1.deployment import DEPLOYMENT_OTHER, UNBACKED, has_unbacked_deposits

WORD_BYTES = 8
MEGABYTE = 10**6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="print the hash and sizes, or every fault")
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)
    add_json_argument(check)


def run(arguments: argparse.Namespace) -> int:
    reports = [check_file(path) for path in arguments.files]
    if arguments.json:
        print_report({"files": reports}, as_json=True)
    else:
        for i, report in enumerate(reports):
            if i:
                print()
            print_text(report)
    return 1 if any(report["faults"] for report in reports) else 0


def check_file(path: Path) -> dict[str, object]:
    """What `--json` prints about one file; if it has faults, nothing beyond them."""
    report: dict[str, object] = {"file": str(path), "faults": []}
    try:
        genesis = parse(path.read_bytes())
    except InvalidGenesis as error:
        faults = error.facts.get("faults", (error,))
        assert isinstance(faults, tuple)
        report["faults"] = [
            {"number": fault.number, "field": fault.facts.get("path", ""), "text": fault.text}
            for fault in faults
        ]
        return report
    if has_unbacked_deposits(genesis):
        report["faults"] = [{"number": DEPLOYMENT_OTHER, "field": "deposits", "text": UNBACKED}]
        return report
    return report | facts_of(genesis)


def facts_of(genesis: Genesis) -> dict[str, object]:
    regions = {name: words * WORD_BYTES for name, words in memory_words(genesis)}
    return {
        "name": genesis.name,
        "hash": genesis.hash.hex(),
        "chain_id": genesis.chain_id,
        "settlement": genesis.settlement,
        "fork_id": genesis.forks.fork_id(genesis.hash).hex(),
        "validators": len(genesis.validators),
        "validators_hash": genesis.validators_hash.hex(),
        "deposits": len(genesis.deposits),
        "region_bytes": regions,
        "memory_bytes": sum(regions.values()),
    }


def print_text(report: dict[str, object]) -> None:
    lines = {key: value for key, value in report.items() if key not in ("faults", "region_bytes")}
    regions, faults = report.get("region_bytes", {}), report["faults"]
    assert isinstance(regions, dict) and isinstance(faults, list)
    if "memory_bytes" in lines:
        total = lines.pop("memory_bytes")
        assert isinstance(total, int)
        for name, size in regions.items():
            lines[f"region {name}"] = f"{size / MEGABYTE:.2f} MB"
        lines["memory"] = f"{total / MEGABYTE:.2f} MB"
    print_report(lines, as_json=False)
    for fault in faults:
        print(f"E{fault['number']} {fault['text']}")
