"""Every line of the log has time, level and height, and the peer where one is meant."""

import io
import json
import logging

from node.telemetry.logs import JSON, TEXT, Heights, formatter


def line_of(form: str, height: int | None, message: str, **extra: object) -> str:
    heights = Heights()
    if height is not None:
        heights.read = lambda: height
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(form, heights))
    logger = logging.Logger("node.roles.follower")
    logger.addHandler(handler)
    logger.warning("%s", message, extra=extra)
    return stream.getvalue()


def test_json_lines_carry_height_and_peer() -> None:
    line = line_of(JSON, 41, "no blocks", peer="12D3Koo")
    assert line.count("\n") == 1
    value = json.loads(line)
    assert value.pop("timestamp").endswith("Z")
    assert value == {
        "event": "no blocks",
        "level": "warning",
        "logger": "node.roles.follower",
        "height": 41,
        "peer": "12D3Koo",
    }


def test_a_line_before_there_is_a_chain_has_no_height() -> None:
    assert "height" not in json.loads(line_of(JSON, None, "opening"))


def test_text_lines_say_the_same_for_people() -> None:
    line = line_of(TEXT, 41, "no blocks", peer="12D3Koo")
    assert "no blocks" in line and "height=41" in line and "peer=12D3Koo" in line
    assert "\x1b" not in line


def test_what_a_stranger_wrote_stays_on_one_json_line() -> None:
    """A peer's text must not forge a line."""
    line = line_of(JSON, 1, 'evil\n{"event": "forged"}')
    assert line.count("\n") == 1
    assert json.loads(line)["event"] == 'evil\n{"event": "forged"}'
