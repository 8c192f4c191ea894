"""A channel: a chain of numbers without a gap, however a reader comes, goes and comes back."""

from typing import Any

import msgspec
import pytest

from node.feeds import channel as law
from node.feeds.channel import Channel, notification

START = 1_000_000


def reader(channel: Channel, resume: int | None = None) -> list[dict[str, Any]]:
    """The messages that a new listener has got and will get."""
    heard: list[dict[str, Any]] = []
    channel.listen(lambda body: heard.append(msgspec.json.decode(body)), resume)
    return heard


def with_snapshot(ring: int = law.RING_MESSAGES) -> Channel:
    channel = Channel(START, ring=ring, snapshot=lambda: {"whole": channel.sequence})
    return channel


def test_each_message_names_the_one_before_it() -> None:
    channel = with_snapshot()
    heard = reader(channel)
    for n in range(5):
        channel.put(n, {"n": n})
    assert heard[0] == {"sequence": START, "snapshot": True, "whole": START}
    for n, message in enumerate(heard[1:]):
        at = START + n
        assert message == {"sequence": at + 1, "previous": at, "operation": n, "n": n}


def test_an_event_with_a_sequence_of_its_own_does_not_break_the_chain() -> None:
    channel = Channel(START)
    heard = reader(channel)
    channel.put(7, {"sequence": 7, "event": "trade"})
    message = {"event": "trade", "sequence": START + 1, "previous": START, "operation": 7}
    assert heard == [message]


def test_who_comes_back_gets_what_it_missed_and_no_snapshot() -> None:
    channel = with_snapshot()
    for n in range(10):
        channel.put(n, {"n": n})
    heard = reader(channel, resume=START + 6)
    assert [message["n"] for message in heard] == [6, 7, 8, 9]
    assert heard[0]["previous"] == START + 6


def test_who_missed_nothing_gets_nothing() -> None:
    channel = with_snapshot()
    channel.put(0, {})
    assert reader(channel, resume=START + 1) == []


@pytest.mark.parametrize("resume", [None, 0, START - 1, START + 4, START + 99, -5])
def test_who_was_away_too_long_or_elsewhere_gets_a_snapshot(
    resume: int | None,
) -> None:
    channel = with_snapshot(ring=4)
    for n in range(10):
        channel.put(n, {"n": n})
    heard = reader(channel, resume)
    assert [message.get("snapshot") for message in heard] == [True]
    assert heard[0]["sequence"] == START + 10


def test_a_channel_of_happenings_has_no_snapshot_and_begins_with_the_next() -> None:
    channel = Channel(START)
    channel.put(0, {"n": 0})
    heard = reader(channel)
    channel.put(1, {"n": 1})
    assert [message["n"] for message in heard] == [1]


def test_a_listener_that_ended_hears_nothing_and_the_others_do() -> None:
    channel = Channel(START)
    heard: list[bytes] = []
    end = channel.listen(heard.append, None)
    others = reader(channel)
    channel.put(0, {})
    end()
    end()
    channel.put(1, {})
    assert (len(heard), len(others), channel.listeners) == (1, 2, 1)


def test_a_listener_may_end_itself_while_it_is_told() -> None:
    channel = Channel(START)
    heard: list[bytes] = []

    def once(body: bytes) -> None:
        heard.append(body)
        end()

    end = channel.listen(once, None)
    others = reader(channel)
    channel.put(0, {})
    channel.put(1, {})
    assert (len(heard), len(others)) == (1, 2)


def test_the_ring_is_bounded() -> None:
    channel = Channel(START)
    for n in range(law.RING_MESSAGES + 10):
        channel.put(n, {})
    assert len(reader(channel, resume=channel.sequence - law.RING_MESSAGES)) == law.RING_MESSAGES
    lost = reader(channel, resume=channel.sequence - law.RING_MESSAGES - 1)
    assert lost == [{"sequence": channel.sequence, "gap": True}]


def test_a_notification_is_one_json_rpc_text() -> None:
    text = notification("0x1", b'{"sequence":5}')
    assert msgspec.json.decode(text) == {
        "jsonrpc": "2.0",
        "method": "clob_subscription",
        "params": {"subscription": "0x1", "result": {"sequence": 5}},
    }
