"""The page of the protocol says what the code does."""

import re
from pathlib import Path
from typing import Final

from p2p import penalties
from p2p.penalties import Offence
from p2p.rates import Rate
from p2p.topics import EXCHANGES, MEBI, TOPICS

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "network.md"


def rows(name: str, columns: int) -> list[list[str]]:
    """The table rows that begin with one of a family of names."""
    found = re.findall(rf"^\| ({name}) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    table = [[first, *rest.split(" | ")] for first, rest in found]
    return [row for row in table if len(row) == columns]


def pace(rate: Rate, unit: int = 1) -> str:
    return f"{rate.per_s / unit:g} ({rate.burst / unit:g})"


def test_the_page_states_what_the_code_does() -> None:
    """Prices, topics and exchanges: every row of the page is one of the code, and no more."""
    prices = {row[0]: int(row[1]) for row in rows("[a-z]+_[a-z_]+|flood", 3)}
    offences = [one for one in vars(penalties).values() if isinstance(one, Offence)]
    assert prices == {offence.name: offence.price for offence in offences}

    topics = {
        topic: [
            str(limits.message_bytes_max),
            pace(limits.budget.messages),
            pace(limits.budget.data, MEBI),
            pace(limits.budget.all_messages),
            pace(limits.budget.all_data, MEBI),
        ]
        for topic, limits in TOPICS.items()
    }
    assert {row[0]: row[1:] for row in rows("|".join(TOPICS), 6)} == topics

    exchanges = {
        protocol: [
            str(limits.request_bytes_max),
            str(limits.chunks_max),
            str(limits.chunk_bytes_max),
            str(limits.response_bytes_max),
            pace(limits.peer_rate),
            pace(limits.all_rate),
            str(limits.running_max),
            f"{limits.chunk_s_max:g}",
        ]
        for protocol, limits in EXCHANGES.items()
    }
    assert {row[0]: row[1:] for row in rows("|".join(EXCHANGES), 9)} == exchanges
