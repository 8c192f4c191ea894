"""Every library that setup.cfg asks for has its line in docs/dependencies.md."""

import configparser
import re

from node.build_check import ROOT

NAME = re.compile(r"^[A-Za-z0-9_.-]+")


def test_every_requirement_is_explained() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    page = (ROOT / "docs/dependencies.md").read_text("utf-8")
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    for line in "\n".join(lists).split("\n"):
        if found := NAME.match(line.strip()):
            known = "types-*" if found[0].startswith("types-") else found[0]
            assert re.search(rf"(?<![\w-]){re.escape(known)}(?![\w-])", rows), found[0]
