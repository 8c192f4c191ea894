"""Strict JSON with addresses: every fault names the field it was found in.

What lives here: a cursor over a decoded JSON value that checks kinds, ranges and forms and collects
what is wrong. What must never live here: which fields a genesis file has.

Theory. A file that describes a chain is hashed by value, so each value has one spelling: integers
up to 2^53 - 1 are JSON numbers, larger ones decimal strings (a JavaScript reader would round them),
bytes are lower-case hexadecimal, there are no fractions, duplicate or unknown members. A person who
writes such a file wants all mistakes at once, so a bad field is recorded and read as some good
value and reading goes on; nothing that was read may be used while there are faults.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NoReturn

from consensus.exceptions import InvalidGenesis

NOT_JSON: Final = 6001
MISSING: Final = 6002
UNKNOWN_MEMBER: Final = 6003
KIND: Final = 6004
RANGE: Final = 6005
FORM: Final = 6006
COUNT: Final = 6007

NUMBER_MAX: Final = (1 << 53) - 1
"""The largest integer that every JSON reader keeps."""
SHOWN_MAX: Final = 60
"""Characters of a bad value that an error repeats."""
DEPTH_MAX: Final = 16
ABSENT: Final = object()

# A string, ended or not, so that brackets inside it are passed over; or one bracket.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)


class Unfit:
    """A JSON number with a fraction or exponent: no kind that any field accepts."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def decode(data: bytes, *, limit_bytes: int) -> object:
    """The value of a JSON file, or `InvalidGenesis` `NOT_JSON`."""
    if len(data) > limit_bytes:
        raise _not_json(f"{len(data)} bytes, at most {limit_bytes} are allowed")
    try:
        check_depth(data)
        value: object = json.loads(
            data.decode("utf-8"),
            parse_float=Unfit,
            parse_constant=Unfit,
            object_pairs_hook=_unique,
        )
    except ValueError as error:
        raise _not_json(str(error)) from error
    return value


def check_depth(data: bytes, most: int = DEPTH_MAX) -> None:
    """Raise `ValueError` for a JSON text that is nested deeper than `most`.

    Decoders recurse in C: where an embedder has raised Python's limit, they would crash.
    """
    depth = 0
    for token in _BRACKETS.finditer(data):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > most:
                raise ValueError(f"lists and objects are nested more than {most} deep")
        elif token[0] in (b"]", b"}"):
            depth -= 1


def encode_canonical(value: object) -> bytes:
    """UTF-8, keys sorted, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def _not_json(reason: str) -> InvalidGenesis:
    return InvalidGenesis(NOT_JSON, f"not a JSON file that can be read: {reason}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(a for a, b in pairwise(names) if a == b)
        raise ValueError(f"the member {twice!a} stands twice in one object")
    return members


def fault(number: int, path: str, text: str) -> InvalidGenesis:
    """The error about one field; it is recorded or yielded, `refuse` raises it."""
    return InvalidGenesis(number, f"genesis field {path or '(the file)'}: {text}", path=path)


class Field:
    """One value, its path, and the faults of the whole file."""

    __slots__ = ("faults", "path", "value")

    def __init__(self, value: object, path: str, faults: list[InvalidGenesis]) -> None:
        self.value = value
        self.path = path
        self.faults = faults

    def fault(self, number: int, rule: str) -> None:
        """Record that the field breaks `rule`, which completes "must"."""
        if self.value is ABSENT:
            return  # recorded where it is missing
        shown = "an object" if isinstance(self.value, dict) else ascii(self.value)
        shown = "a list" if isinstance(self.value, list) else shown[:SHOWN_MAX]
        self.faults.append(fault(number, self.path, f"must {rule}, is {shown}"))

    def members(self, *names: str) -> dict[str, "Field"]:
        """The members of an object that has exactly these."""
        given = self.value if isinstance(self.value, dict) else {}
        if not isinstance(self.value, dict):
            self.fault(KIND, "be an object")
        for name in sorted(given):
            if name not in names:
                path = self._path(ascii(name)[1:-1][:SHOWN_MAX])
                self.faults.append(fault(UNKNOWN_MEMBER, path, "is not known; remove it"))
        found = {}
        for name in names:
            found[name] = Field(given.get(name, ABSENT), self._path(name), self.faults)
            if name not in given and isinstance(self.value, dict):
                self.faults.append(fault(MISSING, self._path(name), "must be given, is missing"))
        return found

    def items(self, low: int, high: int) -> Iterator["Field"]:
        """The items of a list of `low` to `high`."""
        if not isinstance(self.value, list):
            self.fault(KIND, "be a list")
            return
        if not low <= len(self.value) <= high:
            rule = f"have {low} to {high} items" if low < high else f"have {low} items"
            self.faults.append(fault(COUNT, self.path, f"must {rule}, has {len(self.value)}"))
            return
        for i, item in enumerate(self.value):
            yield Field(item, f"{self.path}[{i}]", self.faults)

    def integer(self, low: int, high: int) -> int:
        value = self.value
        if isinstance(value, str) and re.fullmatch("[1-9][0-9]{15,18}", value):
            value = int(value)
            if value <= NUMBER_MAX:
                self.fault(FORM, "be a JSON number: strings are for integers above 2^53 - 1")
                return low
        elif isinstance(value, int) and value > NUMBER_MAX and value <= high:
            self.fault(FORM, "be a decimal string: it is above 2^53 - 1")
            return low
        if not isinstance(value, int) or isinstance(value, bool):
            self.fault(KIND, f"be an integer of {low} to {high}")
        elif not low <= value <= high:
            self.fault(RANGE, f"be an integer of {low} to {high}")
        else:
            return value
        return low

    def power_of_two(self, low: int, high: int) -> int:
        value = self.integer(low, high)
        if value & (value - 1):
            self.fault(FORM, f"be a power of two of {low} to {high}")
        return value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fault(KIND, "be true or false")
        return self.value is True

    def text(self, pattern: str, meaning: str) -> str:
        """A string that is wholly `pattern`; `meaning` completes "must be"."""
        if not isinstance(self.value, str):
            self.fault(KIND, f"be {meaning}")
        elif not re.fullmatch(pattern, self.value):
            self.fault(FORM, f"be {meaning}")
        else:
            return self.value
        return ""

    def choice(self, *allowed: str) -> str:
        return self.text("|".join(map(re.escape, allowed)), f"one of {', '.join(allowed)}")

    def data(self, length: int, meaning: str) -> bytes:
        """`length` bytes as 0x and lower-case hexadecimal."""
        text = self.text(f"0x[0-9a-f]{{{2 * length}}}", f"{meaning}: 0x and {2 * length} of 0-9a-f")
        return bytes.fromhex(text[2:]) or bytes(length)

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def refuse(faults: list[InvalidGenesis]) -> NoReturn:
    """Raise the first fault, with all of them as the fact `faults`."""
    first = faults[0]
    text = first.text
    if len(faults) > 1:
        text = f"{text} (and {len(faults) - 1} more; `rialto genesis check` lists them)"
    raise InvalidGenesis(first.number, text, faults=tuple(faults))
