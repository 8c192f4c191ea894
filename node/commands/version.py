"""`rialto version`: what exactly would run here."""

import argparse
import importlib
import importlib.util
import platform

import node
from node.build_check import compiled_state
from node.commands import add_json_argument, print_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json_argument(parser)


def layout_version() -> int | None:
    """The version of the state's record layouts; None where the rules are not installed."""
    if importlib.util.find_spec("consensus.layout") is None:
        return None
    version: int = importlib.import_module("consensus.layout").LAYOUT_VERSION
    return version


def run(arguments: argparse.Namespace) -> int:
    report = {
        "version": node.__version__,
        "core": compiled_state(),
        "layout_version": layout_version(),
        "python": platform.python_version(),
    }
    print_report(report, as_json=arguments.json)
    return 0
