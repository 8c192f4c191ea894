"""The generated C against the Python it was made from: values, traps, memory, and its own text."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from librt.vecs import vec
from mypy_extensions import i64

from consensus.proving.translate import translate
from node.ctwin import MODES, CompilerMissing, CTwin, Trap, build

ROOT = Path(__file__).parents[2]
SEED = 20_240_611
COMPILER = "cc"
needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"no C compiler {COMPILER!r}: the twin is not built"
)

HEAD = """\
from typing import Final
from librt.vecs import vec
from librt.strings import read_i64_le
from mypy_extensions import i64
"""

# name: body of a function of the numbers a and b
SINGLE_OPERATIONS = {
    "add": "return a + b",
    "sub": "return a - b",
    "mul": "return a * b",
    "neg": "return -a",
    "invert": "return ~a",
    "bits_and": "return a & b",
    "bits_or": "return a | b",
    "bits_xor": "return a ^ b",
    "shift_left": "return a << (b & 63)",
    "shift_right": "return a >> (b & 63)",
    "shift_left_by_63": "return a << 63",
    "shift_right_by_63": "return a >> 63",
    "divide": "return a // b",
    "remainder": "return a % b",
    "divide_by_ten": "return a // 10",
    "update_add": "a += b\n    return a",
    "update_mul": "a *= b\n    return a",
    "less": "return 1 if a < b else 0",
    "equal": "return 1 if a == b else 0",
    "not_equal": "return 1 if a != b else 0",
    "at_most": "return 1 if a <= b else 0",
    "within": "return 1 if -9 <= a < 10 else 0",
    "same_side": "return 1 if (a < 3) == (b < 3) else 0",
    "other_side": "return 1 if (a < 3) != (b < 3) else 0",
    "truth": "return 1 if a else 2",
    "negation": "return 1 if not a else 2",
    "both": "return 1 if a and b else 2",
    "either": "return 1 if a or not b else 2",
}
DIVISIONS = {"divide", "remainder", "divide_by_ten"}

# Every intermediate value of these stays inside 64 bits for |a|, |b| < 2^20.
PROGRAMS = {
    "count_down": """
    total = 0
    while a > 0:
        a -= 3
        if a & 1:
            continue
        if a < b:
            break
        total += a * b
    return total""",
    "search": """
    low: i64 = 0
    high: i64 = 1 << 21
    while True:
        middle = (low + high) >> 1
        if middle == low:
            return low
        elif middle * middle <= a * a:
            low = middle
        else:
            high = middle""",
    "late_assignment": """
    x: i64
    if a < b:
        x = a
    elif a > b:
        x = b - 1
    else:
        pass
        return ~a
    flag = x > 0 and not b == 3
    return (x if flag else -x) + (1 if flag or a > 5 else 0)""",
    "words_of_c": """
    int = a
    int_ = b + 1
    register = int ^ int_
    at_ = register & 255
    M[at_] += register
    result_ = M[at_]
    code_ = result_ | 1
    linux = code_ - int_
    static = a
    return linux""",
    "memory": """
    M[a & 127] = b
    M[b & 127] += a
    M[a & 127] ^= M[b & 127]
    M[5] <<= 1
    S[M[5] & 63] = a if a > b else b
    return M[a & 127] + S[M[5] & 63] + len(M) - len(S)""",
}

ENDS = [0, 1, -1, 2, -2, 3, 10, 62, 63, 64, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32, 1 << 62]
ENDS += [-(1 << 62), (1 << 62) - 1, (1 << 63) - 1, -(1 << 63), -(1 << 63) + 1]
ENDS += [3037000499, 3037000500]  # the squares on both sides of 2^63


def source_of(bodies: dict[str, str]) -> str:
    head = "(M: vec[i64], S: vec[i64], a: i64, b: i64) -> i64:\n    "
    return HEAD + "".join(f"def {name}{head}{body.lstrip()}\n" for name, body in bodies.items())


def interpreted(source: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(source, "interpreted", "exec"), scope)
    return scope


def word(value: int) -> int:
    """The value modulo 2^64, as a signed word."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def pairs(random_: random.Random, count: int, bits: int) -> list[tuple[int, int]]:
    drawn = [(random_.randrange(-1 << bits, 1 << bits) >> random_.randrange(bits),
              random_.randrange(-1 << bits, 1 << bits) >> random_.randrange(bits))
             for _ in range(count)]  # fmt: skip
    ends = [end for end in ENDS if -1 << bits <= end < 1 << bits]
    return drawn + [(a, b) for a in ends for b in ends]


def outcome(run: Callable[[], int]) -> int | str:
    try:
        return run()
    except Trap as trap:
        return f"trap {trap.code}"


def expected(name: str, function: Callable[..., int], a: int, b: int, checked: bool) -> int | str:
    divisor = 10 if name == "divide_by_ten" else b
    if name in DIVISIONS and (divisor <= 0 or (checked and a < 0)):
        return "trap 3"
    value = function(None, None, a, b)
    if name in DIVISIONS and a < 0:  # C rounds towards zero, in the modes that do not trap
        quotient = -(-a // divisor)
        return quotient if name != "remainder" else a - quotient * divisor
    return "trap 4" if checked and value != word(value) else word(value)


@needs_compiler
@pytest.mark.parametrize("mode", ["plain", "overflow"])
def test_each_operation_gives_python_s_value_or_traps_exactly_when_it_leaves_64_bits(
    mode: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    source = source_of(SINGLE_OPERATIONS)
    twin = CTwin(build({"consensus/ops.py": source}, tmp_path, mode, COMPILER), b"", b"")
    functions, random_ = interpreted(source), random.Random(SEED)
    traps = 0
    for name in SINGLE_OPERATIONS:
        for a, b in pairs(random_, 300, 63):
            want = expected(name, functions[name], a, b, mode == "overflow")
            assert outcome(partial(twin.call, name, b"", a, b)) == want, (name, a, b)
            traps += want == "trap 4"
    assert (traps > 500) == (mode == "overflow")


@needs_compiler
@pytest.mark.parametrize("mode", MODES)
def test_small_programs_return_and_write_the_same_interpreted_and_in_c(
    mode: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    source = source_of(PROGRAMS)
    library = build({"consensus/small.py": source}, tmp_path, mode, COMPILER)
    twin = CTwin(library, bytes(8 * 256), bytes(8 * 64))
    if mode == "witness":
        twin.show_leaves(range(8))
    functions, random_ = interpreted(source), random.Random(SEED)
    for name in PROGRAMS:
        memory, scratch = [0] * 256, [0] * 64
        for region, words in (("M", memory), ("S", scratch)):
            twin.memory(region)[:] = memoryview(vec[i64](words))
        for a, b in pairs(random_, 200, 20):
            if name == "memory":  # M[5] doubles at each call
                memory[5] &= 0xFFFF
                twin.memory("M")[5] &= 0xFFFF
            want = functions[name](memory, scratch, a, b)
            assert twin.call(name, b"", a, b) == want, (name, a, b)
        assert twin.memory("M").tolist() == memory
        assert twin.memory("S").tolist() == scratch


WRAPS = """\
DE_BRUIJN: Final = 0x3F79D71B4CB0A89
def ctz(S: vec[i64], x: i64) -> i64:
    return S[((x & -x) * DE_BRUIJN >> 58) & 63]
def tables(S: vec[i64]) -> None:
    k: i64 = 0
    bit: i64 = 1
    while k < 63:
        S[(bit * DE_BRUIJN >> 58) & 63] = k
        bit <<= 1
        k += 1
    S[(-(1 << 62) * 2 * DE_BRUIJN >> 58) & 63] = 63
"""


@needs_compiler
def test_only_a_function_listed_as_wrapping_wraps_in_overflow_mode(tmp_path: Path) -> None:
    source = {"consensus/bits.py": HEAD + WRAPS}
    wrapping = ("ctz", "tables")
    library = build(source, tmp_path, "overflow", COMPILER, wrapping=wrapping)
    twin, functions = CTwin(library, b"", bytes(8 * 64)), interpreted(HEAD + WRAPS)
    twin.call("tables")
    scratch = vec[i64]([0] * 64)
    functions["tables"](scratch)
    assert twin.memory("S").tolist() == memoryview(scratch).tolist()
    for k in range(64):
        x = word(-1 << k)
        assert twin.call("ctz", b"", x) == k == functions["ctz"](scratch, x)

    strict = HEAD + WRAPS.replace("-(1 << 62) * 2 *", "(1 << 61) *")
    library = build({"consensus/bits.py": strict}, tmp_path, "overflow", COMPILER, wrapping=())
    with pytest.raises(Trap, match="outside 64 bits"):
        CTwin(library, b"", bytes(8 * 64)).call("tables")


@needs_compiler
def test_an_index_outside_its_region_stops_and_so_does_a_negative_one(tmp_path: Path) -> None:
    source = HEAD + (
        "def load(M: vec[i64], a: i64) -> i64:\n    return M[a]\n"
        "def store(S: vec[i64], a: i64) -> None:\n    S[a] = 7\n"
        "def take(b: bytes, a: i64) -> i64:\n    return read_i64_le(b, a)\n"
    )
    library = build({"consensus/index.py": source}, tmp_path, "plain", COMPILER)
    twin = CTwin(library, bytes(8 * 10), bytes(8 * 3))
    assert twin.call("load", b"", 9) == 0
    assert twin.call("store", b"", 2) == 0
    assert twin.call("take", bytes(3) + b"\xfe" + b"\xff" * 7, 3) == -2
    top = (1 << 63) - 1
    wrong = [("load", a) for a in (10, -1, -10, top, -top - 1)]
    wrong += [("store", 3), ("store", -1), ("take", 4), ("take", -1), ("take", top)]
    for entry, at in wrong:
        with pytest.raises(Trap) as trap:
            twin.call(entry, bytes(11), at)
        assert trap.value.code == 1


# A doubly linked list of distinct keys in rising order; record of 32 words: key, next, previous.
LIST_LAYOUT = """\
from typing import Final
HEAD: Final = 0
FREE: Final = 1
RECORD: Final = 32
KEY: Final = 0
NEXT: Final = KEY + 1
PREVIOUS: Final = NEXT + 1
"""
LIST = """\
from typing import Final
from librt.vecs import vec
from librt.strings import read_i64_le
from mypy_extensions import i64
from consensus.layout import FREE, HEAD, KEY, NEXT, PREVIOUS, RECORD

def set_up(M: vec[i64]) -> None:
    record: i64 = RECORD
    while record + 2 * RECORD <= len(M):
        M[record + NEXT] = record + RECORD
        record += RECORD
    M[FREE] = RECORD

def take(M: vec[i64]) -> i64:
    record = M[FREE]
    if record:
        M[FREE] = M[record + NEXT]
    return record

def insert(M: vec[i64], S: vec[i64], key: i64) -> bool:
    before: i64 = 0
    after = M[HEAD]
    while after and M[after + KEY] < key:
        S[0] += 1
        before = after
        after = M[after + NEXT]
    if after and M[after + KEY] == key:
        return False
    record = take(M)
    if not record:
        return False
    M[record + KEY] = key
    M[record + NEXT] = after
    M[record + PREVIOUS] = before
    if before:
        M[before + NEXT] = record
    else:
        M[HEAD] = record
    if after:
        M[after + PREVIOUS] = record
    return True

def remove(M: vec[i64], S: vec[i64], key: i64) -> bool:
    record = M[HEAD]
    while record and M[record + KEY] != key:
        S[0] += 1
        record = M[record + NEXT]
    if not record:
        return False
    before = M[record + PREVIOUS]
    after = M[record + NEXT]
    if before:
        M[before + NEXT] = after
    else:
        M[HEAD] = after
    if after:
        M[after + PREVIOUS] = before
    M[record + KEY] = 0
    M[record + PREVIOUS] = 0
    M[record + NEXT] = M[FREE]
    M[FREE] = record
    return True

def run(M: vec[i64], S: vec[i64], batch: bytes) -> i64:
    at: i64 = 0
    changed: i64 = 0
    while at < len(batch):
        key = read_i64_le(batch, at)
        if insert(M, S, key) if key > 0 else remove(M, S, -key):
            changed += 1
        at += 8
    return changed
"""
LIST_SOURCES = {"consensus/layout.py": LIST_LAYOUT, "consensus/list.py": LIST}
LEAVES = 61
WORDS = 32 * LEAVES


def list_functions() -> dict[str, Any]:
    scope = interpreted(LIST_LAYOUT)
    text = LIST.replace("from consensus.layout import", "# the same names:")
    exec(compile(text, "interpreted", "exec"), scope)
    return scope


def list_batch(random_: random.Random, count: int) -> bytes:
    keys = [random_.randrange(1, 200) * random_.choice((1, 1, -1)) for _ in range(count)]
    return b"".join(key.to_bytes(8, "little", signed=True) for key in keys)


class Recorded(list[int]):
    """A region that remembers which leaves were read and written."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(words)
        self.read: set[int] = set()
        self.written: set[int] = set()

    def __getitem__(self, at: Any) -> Any:
        self.read.add(at >> 5)
        return super().__getitem__(at)

    def __setitem__(self, at: Any, value: Any) -> None:
        self.written.add(at >> 5)
        super().__setitem__(at, value)


@needs_compiler
@pytest.mark.parametrize("mode", MODES)
def test_a_linked_list_ends_in_the_same_memory_interpreted_and_in_c(
    mode: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    functions, random_ = list_functions(), random.Random(SEED)
    memory, scratch = vec[i64]([0] * WORDS), vec[i64]([0] * 8)
    twin = CTwin(
        build(LIST_SOURCES, tmp_path, mode, COMPILER, entries=("set_up", "run")),
        bytes(8 * WORDS), bytes(64),
    )  # fmt: skip
    if mode == "witness":
        twin.show_leaves(range(LEAVES))
    functions["set_up"](memory)
    twin.call("set_up")
    exhausted = 0
    for _ in range(20):
        batch = list_batch(random_, 100)
        changed = functions["run"](memory, scratch, batch)
        assert changed > 10
        assert twin.call("run", batch) == changed
        assert twin.read_M() == memoryview(memory).tobytes()
        assert twin.memory("S").tolist() == memoryview(scratch).tolist()
        exhausted += memory[1] == 0
    assert exhausted


@needs_compiler
def test_the_traced_leaves_are_those_python_touches_and_each_of_them_is_needed_as_witness(
    tmp_path: Path,
) -> None:
    functions, random_ = list_functions(), random.Random(SEED)
    plain, batch = [0] * WORDS, list_batch(random_, 30)
    functions["set_up"](plain)
    functions["run"](plain, [0] * 8, list_batch(random_, 60))
    memory = Recorded(plain)
    functions["run"](memory, [0] * 8, batch)
    start = memoryview(vec[i64](plain)).tobytes()
    traced = CTwin(build(LIST_SOURCES, tmp_path, "trace", COMPILER), start, bytes(64))
    traced.call("run", batch)
    assert traced.leaves_seen("read") == sorted(memory.read)
    assert traced.leaves_seen("written") == sorted(memory.written)

    touched = memory.read | memory.written
    library = build(LIST_SOURCES, tmp_path, "witness", COMPILER)
    for absent in [None, *sorted(touched)]:
        twin = CTwin(library, start, bytes(64))
        twin.show_leaves(touched - {absent})
        if absent is None:
            twin.call("run", batch)
            assert twin.read_M() == memoryview(vec[i64](list(memory))).tobytes()
        else:
            with pytest.raises(Trap, match="witness lacks"):
                twin.call("run", batch)


def test_the_text_is_the_same_under_every_hash_seed_and_order_of_sources() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_translate import *;"
        "sources = LIST_SOURCES | {'consensus/small.py': source_of(PROGRAMS)};"
        "print(translate(dict(sorted(sources.items(), reverse=sys.argv[2] == '1')), (), ()))"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    texts = {
        subprocess.run(
            [*command, str(int(seed) % 2)], cwd=ROOT, check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(texts) == 1
    assert b"rialto_run" in texts.pop()


def test_only_what_the_entries_reach_is_emitted_and_only_entries_are_exported() -> None:
    text = translate(LIST_SOURCES, ["remove"], ())
    assert "\nbool rialto_remove(" in text
    assert "insert" not in text
    assert "K_RECORD" not in text
    text = translate(LIST_SOURCES, ["run"], ())
    assert "\nstatic bool f_remove(" in text


def test_a_missing_compiler_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(CompilerMissing, match="no C compiler 'no-such-cc' on the path"):
        build(LIST_SOURCES, tmp_path, "plain", "no-such-cc")


@needs_compiler
def test_c_that_the_compiler_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(CompilerMissing, match="refused the generated C"):
        build(LIST_SOURCES, tmp_path, "plain", COMPILER, "int broken(")
