"""Deep JSON is refused before the parser recurses into it, whatever the recursion limit is."""

import json
import random
import sys
from collections.abc import Iterator
from time import perf_counter

import pytest
from sockets import Methods, call

from node.rpc.dispatch import Dispatcher
from node.rpc.http_requests import BODY_BYTES_MAX
from node.rpc.nesting import CONTAINERS_MAX, DEPTH_MAX, is_too_deep


@pytest.fixture(autouse=True)
def high_limit() -> Iterator[None]:
    """As py-evm and py_ecc set it, under which the parser alone would overflow the stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 1_000_000))
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_limit_is_exact(left: bytes, right: bytes) -> None:
    for depth in (1, 2, DEPTH_MAX - 1, DEPTH_MAX):
        assert not is_too_deep(left * depth + b"1" + right * depth)
    for depth in (DEPTH_MAX + 1, 1000, 100_000):
        assert is_too_deep(left * depth + b"1" + right * depth)


def test_wide_is_not_deep_and_brackets_in_strings_do_not_count() -> None:
    assert not is_too_deep(json.dumps([[{}, []]] * 1000).encode())
    assert not is_too_deep(json.dumps(["[" * 1000, "{" * 1000, "\\\"[" * 100]).encode())
    assert not is_too_deep(json.dumps({"[\\": "]" * 500, "}": ["{" * 100]}).encode())


def test_the_number_of_parts_is_limited() -> None:
    parts = b"[" + b"{}," * (CONTAINERS_MAX - 2) + b"{}"
    assert not is_too_deep(parts + b"]")
    assert is_too_deep(parts + b",[]]")


def test_random_values_have_the_depth_that_they_were_made_with() -> None:
    chance = random.Random(20_261_125)

    def value(depth: int) -> object:
        text = "".join(chance.choice('[]{}",\\x') for _ in range(chance.randrange(8)))
        if depth == 0:
            return text
        inner = [value(depth - 1), *(text for _ in range(chance.randrange(3)))]
        chance.shuffle(inner)
        named = {f"{n}{text}": one for n, one in enumerate(inner)}
        return inner if chance.random() < 0.5 else named

    for _ in range(300):
        depth = chance.randrange(50, 80)
        assert is_too_deep(json.dumps(value(depth)).encode()) == (depth > DEPTH_MAX)


@pytest.mark.parametrize(
    "piece", [b"[", b'{"a":', b"[[{}],", b'"', b'\\"', b'"\\"', b"[]", b'{"', b"]["]
)
def test_the_largest_body_of_anything_is_judged_quickly_and_answered(piece: bytes) -> None:
    answers: list[bytes] = []
    dispatcher = Dispatcher(Methods().named())
    for begin in (b"", b'[', b'"', b'{"params":'):
        text = begin + piece * (BODY_BYTES_MAX // len(piece))
        begun = perf_counter()
        dispatcher.handle(text, None, answers.append)
        assert perf_counter() - begun < 2
        assert json.loads(answers.pop())["error"]["code"] in (-32700, -32600)
    dispatcher.handle(call("echo", [1]).encode(), None, answers.append)
    assert json.loads(answers.pop())["result"] == [1]
