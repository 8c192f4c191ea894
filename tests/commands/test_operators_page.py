"""The operators' page says what the commands print."""

import re
from pathlib import Path

from operators_page import PAGE, filled

from node.build_check import ROOT

VARYING = re.compile(
    r"^(messages_per_s|signatures_per_s|apply_s|recover_s|sign_s|encode_s|core|machine"
    r"|snapshot_bytes|bytes_per_command|bytes_per_command_signed) .*$",  # zstd's version counts
    re.MULTILINE,
)


def test_the_output_on_the_operators_page_is_what_the_commands_print() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert VARYING.sub("", filled(text)) == VARYING.sub("", text), (
        "run `python tests/commands/operators_page.py` and read what it changed"
    )
    assert "Traceback" not in text


def test_every_number_of_the_command_line_and_of_flows_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    files = [ROOT / "node" / "cli.py", ROOT / "node" / "build_check.py"]
    files += [ROOT / "node" / "state_file.py", ROOT / "node" / "commands" / "state.py"]
    files += [ROOT / "node" / "commands" / "replay.py", *(ROOT / "node" / "flow").glob("*.py")]
    found = re.findall(r"^[A-Z_0-9]+: Final = (7\d\d\d)$", joined(files), re.MULTILINE)
    assert len(found) >= 15
    for number in found:
        assert re.search(rf"\b{number}\b", text), number


def joined(files: list[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in files)
