"""Compile the core with mypyc. All metadata is in setup.cfg.

The modules to compile are listed in consensus/core_modules.txt. Beside the compiled modules goes
consensus/core_manifest.json, the SHA-256 of every source they were made from: node/build_check.py
compares it at start, so that an edited source is never silently shadowed by an older binary.
The sources are hashed before they are translated; an edit during the build then reads as stale.

RIALTO_PURE=1 builds without mypyc: the same behaviour, only slower.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODULE_LIST = ROOT / "consensus" / "core_modules.txt"
# Hidden symbols let the C compiler inline across functions; -fwrapv makes the wrap-around of
# signed integers a rule of the language, as it is for the operands mypyc wraps itself.
COMPILE_ARGS = ["-fvisibility=hidden", "-fwrapv"]

# The C that mypyc writes for M[index]: a comparison, a second one for index + length, an error.
BOUNDS_CHECK = re.compile(r"((\w+) = \(uint64_t\)\w+ < \(uint64_t\)\w+;)\n    if \(\2\) (goto|{)")
SECOND_CHECK = re.compile(
    r"(\w+ = \w+ \+ \w+;\n    (\w+) = )\(uint64_t\)\w+ < \(uint64_t\)\w+;\n    if \(\2\)"
)
INDEX_ERROR = re.compile(
    r"PyErr_SetNone\(PyExc_IndexError\);\n    (\w+) = 0;\n"
    r"    if \(unlikely\(!\1\)\) {\n        CPy_AddTraceback\((.*)\);\n"
)
OUT_OF_BOUNDS = """\
static __attribute__((noinline, cold)) void
out_of_bounds(const char *file, const char *function, int line, PyObject *globals) {
    PyErr_SetNone(PyExc_IndexError);
    CPy_AddTraceback(file, function, line, globals);
}
"""

# A region that arrives as an argument: mypyc 2.4.1 asks for a borrowed one, takes a reference, and
# never gives it back.
UNBOXED = re.compile(r"(\w+) = VecI64Api\.unbox\(\w+\);")

# The C compiler judges by size what to inline, and the error paths of the bounds checks make every
# function look big. These are the path of an order from row to event, and what leaves that path.
INLINE = """
touch event lowest_bit above take_lowest give_back is_session account_at balance_at table_at
trader_at fee_up lock_of locked_asset lock credit saturate trade_position settle_maker key_of
order_at level_at link unlink side_of handle_of slot_of free report_cancel begin trade exhaust
settle report_taken terms_of make_room admit rest halted in_scope outside_band is_malformed_place
place_values place_rules place enter cancel permission operate
"""
COLD = """
first_touch refuse_row meet_own evict remove_all amend cancel_client cancel_all account_operation
"""

MODULES = MODULE_LIST.read_text().split()
MANIFEST = {
    path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
    for path in [MODULE_LIST.relative_to(ROOT).as_posix(), *MODULES]
}


class BuildCore(build_ext):
    """Replace the extensions, then write the manifest that belongs to them."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # Time stamps do not survive copies of the tree; the caller decides when to build.
        self.force = True

    def run(self) -> None:
        in_place = self.inplace or self.editable_mode
        target = ROOT if in_place else Path(self.build_lib)
        # Binaries of an earlier list of modules would otherwise stay, and ship.
        for binary in [*target.glob("*__mypyc.*.so"), *(target / "consensus").rglob("*.so")]:
            binary.unlink()
        super().run()
        text = json.dumps(MANIFEST, indent=1, sort_keys=True) + "\n"
        (target / "consensus" / "core_manifest.json").write_text(text)


def strict_bounds(text: str) -> str:
    """Make a negative index an IndexError, and tell the C compiler that indexes are in bounds.

    mypyc reads M[-1] as the last word, as Python does; the core never means that, and in the C twin
    it stops. A mypyc that writes other C leaves nothing to replace: that is an error here, not a
    silent change of meaning.
    """
    text, seconds = SECOND_CHECK.subn(r"\g<1>0;\n    if (\2)", text)
    text, firsts = BOUNDS_CHECK.subn(r"\1\n    if (likely(\2)) \3", text)
    text, errors = INDEX_ERROR.subn(r"{\n        out_of_bounds(\2);\n", text)
    if not firsts == seconds == errors > 0 or "PyErr_SetNone(PyExc_IndexError)" in text:
        sys.exit("rialto: no bounds checks of the known form: is mypyc 2.4.1 in use?")
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
                sys.exit(f"rialto: {found} functions {name} in the core: correct setup.py")
    return text


def borrowed_regions(text: str) -> str:
    """Give back the reference that a call takes on each of its regions.

    The caller's object holds the words for as long as the call lasts. Without this no region is
    ever freed: a state that is dropped, or outgrown, stays in memory until the process ends.
    """
    text, found = UNBOXED.subn(r"\g<0> VEC_I64_DECREF(\1);", text)
    if not found:
        sys.exit("rialto: no regions taken in the known form: is mypyc 2.4.1 in use?")
    return text


def rewrite(source: Path) -> None:
    """Change the C of the core, once, as the three functions above say."""
    text = source.read_text()
    if "CPyDef_execute___" in text and OUT_OF_BOUNDS not in text:
        text = borrowed_regions(placement(strict_bounds(text)))
        before, include, after = text.rpartition("#include ")
        line, rest = after.split("\n", 1)
        source.write_text(f"{before}{include}{line}\n{OUT_OF_BOUNDS}{rest}")


def setup_compiled() -> None:
    try:
        from mypyc.build import mypycify
    except ImportError:
        sys.exit(
            "rialto: compiling the core needs mypyc: pip install 'mypy[mypyc]==2.4.1' "
            "librt==0.16.0, or set RIALTO_PURE=1 to build without it (same behaviour, slower)"
        )
    extensions = mypycify(["--config-file=setup.cfg", *MODULES], opt_level="3", debug_level="1")
    for extension in extensions:
        extension.extra_compile_args += COMPILE_ARGS
        for source in extension.sources:
            rewrite(Path(source))
    setup(ext_modules=extensions, cmdclass={"build_ext": BuildCore})


if os.environ.get("RIALTO_PURE") == "1":
    setup()
else:
    setup_compiled()
