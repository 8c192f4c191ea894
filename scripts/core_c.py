"""The C that mypyc writes for the core, edited before it is compiled: stricter, and faster.

What lives here: edits of text, each of which stops the build when it does not find what it edits.
What must never live here: a change of what the core computes. Why and how much: docs/decisions
0004 (negative indexes), 0006 (regions), 0007 (inlined by name), 0010 (one check for a record) and
0011 (leaves copied as a block).

Four facts about the core make the edits right; tests and the translator's checks hold them:
it calls nothing that runs Python code; it keeps no reference that an error would have to give back;
it never means a negative index; and a record whose first word is in a region is in it as a whole,
because records are as long as a power of two and lie at multiples of their length.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Final

REGION_WORDS_MIN: Final = 256
"""No region is shorter: the ledger's header. Also the bound of an offset within a record."""

# A function of the core, but not the one that runs when its module is imported.
FUNCTION: Final = re.compile(
    r"^(?:char|int64_t) CPyDef_(?!\w+____top_level__)\w+\(.*\) \{\n(?:.*\n)*?\}\n", re.MULTILINE
)
# M[index]: a comparison, a second one for index + length, an error.
BOUNDS_CHECK: Final = re.compile(
    r"((\w+) = \(uint64_t\)\w+ < \(uint64_t\)\w+;)\n    if \(\2\) (goto|{)"
)
SECOND_CHECK: Final = re.compile(
    r"(\w+ = \w+ \+ \w+;\n    (\w+) = )\(uint64_t\)\w+ < \(uint64_t\)\w+;\n    if \(\2\)"
)
INDEX_ERROR: Final = re.compile(
    r"PyErr_SetNone\(PyExc_IndexError\);\n    (\w+) = 0;\n"
    r"    if \(unlikely\(!\1\)\) {\n        CPy_AddTraceback\((.*)\);\n"
)
LENGTH_CHECK: Final = re.compile(
    r"    (\w+) = \(int64_t\)(\w+)\.len;\n    (\w+) = \(uint64_t\)(\w+) < \(uint64_t\)\1;"
)
PARAMETER: Final = re.compile(r" (\w+)[,)]")
ASSIGNED: Final = re.compile(r"^    (\w+) = ", re.MULTILINE)
SUM: Final = re.compile(r"^    (\w+) = (\w+) \+ (\d+);", re.MULTILINE)
CALL_CHECK: Final = re.compile(r"( = CPyDef_\w+\(.*\);\n    \w+ = )\w+ == -113;")
ROW_WORD: Final = re.compile(
    r"(\w+) = CPyBytes_ReadI64LE\((\w+), (\w+)\);\n    (\w+) = \1 == -113;"
)
ENTRY: Final = re.compile(r"^ +(?=(?:char|int64_t) retval = CPyDef_)", re.MULTILINE)
REGION: Final = re.compile(
    r"(\w+) = VecI64Api\.unbox\(\w+\);\n +if \(VEC_IS_ERROR\(\1\)\) {\n.*\n +}\n"
)

ERRORS: Final = """\
#include <setjmp.h>

static jmp_buf core_entry;  /* of the one call that runs: the core keeps the GIL */

static __attribute__((noinline, cold, noreturn)) void
leave_core(const char *file, const char *function, int line, PyObject *globals) {
    CPy_AddTraceback(file, function, line, globals);
    longjmp(core_entry, 1);
}

static __attribute__((noinline, cold, noreturn)) void
out_of_bounds(const char *file, const char *function, int line, PyObject *globals) {
    PyErr_SetNone(PyExc_IndexError);
    leave_core(file, function, line, globals);
}

static __attribute__((noinline, cold, noreturn)) void
row_too_short(int64_t at, int64_t size) {
    CPyBytes_ReadError(at, size);
    longjmp(core_entry, 1);
}

/* The word at byte first + offset, where `bytes` are there from byte `first` on. */
static inline __attribute__((always_inline)) int64_t
row_word(PyObject *b, int64_t first, int64_t offset, int64_t bytes) {
    int64_t size = PyBytes_GET_SIZE(b);
    if (unlikely(first < 0 || first > size - bytes)) row_too_short(first + offset, size);
    return CPyBytes_ReadI64LEUnsafe((unsigned char *)PyBytes_AS_STRING(b) + first + offset);
}
"""
COPY_LEAF: Final = """\
    if (likely((uint64_t)cpy_r_word < (uint64_t)(cpy_r_M.len - 31) &&
               (uint64_t)cpy_r_at < (uint64_t)(cpy_r_S.len - 31))) {
        memmove((int64_t *)cpy_r_S.items + cpy_r_at, (int64_t *)cpy_r_M.items + cpy_r_word, 256);
        return 1;
    }
"""

# The C compiler judges by size what to inline. These are the path of an order from row to event,
# and what leaves that path.
INLINE: Final = """
touch event lowest_bit above take_lowest give_back is_session account_at balance_at table_at
trader_at fee_up lock_of locked_asset lock credit saturate trade_position settle_maker key_of
order_at level_at link unlink side_of handle_of slot_of free report_cancel begin trade exhaust
settle report_taken terms_of make_room admit rest halted in_scope outside_band is_malformed_place
place_values place_rules place enter cancel permission operate has_words
"""
COLD: Final = """
first_touch refuse_row meet_own evict remove_all amend cancel_client cancel_all account_operation
"""


def unknown(what: str) -> None:
    sys.exit(f"rialto: no {what} of the known form in the core's C: is mypyc 2.4.1 in use?")


def strict_bounds(text: str) -> str:
    """Make a negative index an IndexError, and tell the C compiler that indexes are in bounds.

    mypyc reads M[-1] as the last word, as Python does; the core never means that, and in the C twin
    it stops.
    """
    text, seconds = SECOND_CHECK.subn(r"\g<1>0;\n    if (\2)", text)
    text, firsts = BOUNDS_CHECK.subn(r"\1\n    if (likely(\2)) \3", text)
    text, errors = INDEX_ERROR.subn(r"{\n        out_of_bounds(\2);\n", text)
    if not firsts == seconds == errors > 0 or "PyErr_SetNone(PyExc_IndexError)" in text:
        unknown("bounds checks")
    return text


class Record:
    """The sums `base + constant` of one function, and how far it reaches from each base.

    Only names that get their value once are looked through (a parameter gets it from the caller),
    so a sum and its base still belong together where the check is.
    """

    def __init__(self, function: str) -> None:
        head, body = function.split("{", 1)
        assigned = Counter(PARAMETER.findall(head) + ASSIGNED.findall(body))
        self._sums = {
            name: (base, int(constant))
            for name, base, constant in SUM.findall(body)
            if assigned[name] == assigned[base] == 1
        }
        self._reach: Counter[tuple[str, str]] = Counter()

    def split(self, name: str) -> tuple[str, int]:
        """`name` as base and offset."""
        offset = 0
        while name in self._sums:
            name, constant = self._sums[name]
            offset += constant
        return name, offset

    def note(self, what: str, name: str) -> None:
        """`name` indexes `what`."""
        base, offset = self.split(name)
        if offset < REGION_WORDS_MIN:
            self._reach[what, base] = max(self._reach[what, base], offset)

    def reach(self, what: str, base: str) -> int:
        """The furthest offset from `base`."""
        return self._reach[what, base]


def one_check(function: str) -> str:
    """Check all words of a record alike, so that the C compiler keeps one of the checks.

    The record is taken to be as long as the power of two above the furthest offset of the function,
    and must be in the region as a whole. A constant index is in every region.
    """
    record = Record(function)
    for _, region, _, index in LENGTH_CHECK.findall(function):
        if not index.isdigit():
            record.note(region, index)

    def check(found: re.Match[str]) -> str:
        length, region, result, index = found.groups()
        words = f"    {length} = (int64_t){region}.len;\n    {result} = "
        if index.isdigit():
            return f"{words}1;" if int(index) < REGION_WORDS_MIN else found[0]
        base, offset = record.split(index)
        if offset >= REGION_WORDS_MIN:
            return found[0]
        last = (1 << record.reach(region, base).bit_length()) - 1
        return f"{words}(uint64_t){base} < (uint64_t)({length} - {last});"

    return LENGTH_CHECK.sub(check, function)


def row_words(function: str) -> str:
    """Check that the last word which a function reads of a row is there, alike for each word."""
    record = Record(function)
    for _, row, at, _ in ROW_WORD.findall(function):
        record.note(row, at)

    def word(found: re.Match[str]) -> str:
        name, row, at, result = found.groups()
        first, offset = record.split(at)
        there = record.reach(row, first) + 8
        return f"{name} = row_word({row}, {first}, {offset}, {there});\n    {result} = 0;"

    return ROW_WORD.sub(word, function)


def leave_at_once(function: str) -> str:
    """Let an error leave the core where it happens, instead of through every caller.

    A call that returns has done its work, so its result is not compared with the error value.
    """
    function = CALL_CHECK.sub(r"\g<1>0;", function)
    return function.replace(" CPy_AddTraceback(", " leave_core(")


def functions(text: str) -> str:
    """The three edits of each function, and the place where an error leaves it."""
    checks, rows = len(LENGTH_CHECK.findall(text)), len(ROW_WORD.findall(text))
    text, found = FUNCTION.subn(lambda f: leave_at_once(row_words(one_check(f[0]))), text)
    text, entries = ENTRY.subn("    if (_setjmp(core_entry)) return NULL;\n", text)
    if not (found == entries > 0 and checks > 0 and rows > 0) or ROW_WORD.search(text):
        unknown("functions")
    return text


def regions(text: str) -> str:
    """Give back the reference that a call takes on each of its regions, and refuse a short one.

    mypyc asks for a borrowed region, takes a reference, and never gives it back. The caller's
    object holds the words for as long as the call lasts.
    """
    short = 'PyErr_SetString(PyExc_IndexError, "a region is shorter than its header");'
    text, found = REGION.subn(
        rf"\g<0>    VEC_I64_DECREF(\1);\n"
        rf"    if (\1.len < {REGION_WORDS_MIN}) {{\n        {short}\n        goto fail;\n    }}\n",
        text,
    )
    if not found or found != text.count("VecI64Api.unbox("):
        unknown("regions")
    return text


def copied_leaf(text: str) -> str:
    """Copy a leaf that lies in its region as a block; the loop is left for one that does not."""
    text, found = re.subn(
        r"^char CPyDef_scratch___copy_leaf\(.*\) {\n",
        rf"\g<0>{COPY_LEAF}",
        text,
        flags=re.MULTILINE,
    )
    if found != 1:
        unknown("copy_leaf")
    return text


def placement(text: str) -> str:
    """Say which functions of the core are inlined and which are kept out of the way."""
    for names, words in (
        (INLINE, "inline __attribute__((always_inline))"),
        (COLD, "__attribute__((noinline, cold))"),
    ):
        for name in names.split():
            head = rf"^(?=(?:char|int64_t) CPyDef_\w+___{name}\(.*\) {{$)"
            text, found = re.subn(head, f"{words} ", text, flags=re.MULTILINE)
            if found != 1:
                sys.exit(f"rialto: {found} functions {name} in the core: correct {__file__}")
    return text


def rewrite(source: Path) -> None:
    """Edit the C of the core, once; other C stays as it is."""
    text = source.read_text()
    if "CPyDef_execute___" in text and ERRORS not in text:
        text = placement(copied_leaf(regions(functions(strict_bounds(text)))))
        before, include, after = text.rpartition("#include ")
        line, rest = after.split("\n", 1)
        source.write_text(f"{before}{include}{line}\n{ERRORS}{rest}")
