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

# The C that mypyc writes for M[index]: a first comparison, then a second one for index + length.
BOUNDS_CHECK = re.compile(r"((\w+) = \(uint64_t\)\w+ < \(uint64_t\)\w+;)\n    if \(\2\) goto")
NEGATIVE_INDEX = re.compile(
    r"(\w+ = \w+ \+ \w+;\n    (\w+)) = \(uint64_t\)\w+ < \(uint64_t\)\w+;\n"
    r"    if \(likely\(\2\)\) goto (\w+;\n    PyErr_SetNone)"
)
# A region that arrives as an argument: mypyc 2.4.1 asks for a borrowed one, takes a reference, and
# never gives it back.
UNBOXED = re.compile(r"(\w+) = VecI64Api\.unbox\(\w+\);")

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


def strict_bounds(source: Path) -> None:
    """Make a negative index an IndexError, and tell the C compiler that indexes are in bounds.

    mypyc reads M[-1] as the last word, as Python does; the core never means that, and in the C twin
    it stops. The hint makes the compiled core about 15 % faster. A mypyc that writes other C leaves
    nothing to replace: that is an error here, not a silent change of meaning.
    """
    text, hints = BOUNDS_CHECK.subn(r"\1\n    if (likely(\2)) goto", source.read_text())
    text, indexes = NEGATIVE_INDEX.subn(r"\1 = 0;\n    if (\2) goto \3", text)
    if "CPyDef_execute___" in text and not (hints and indexes):
        sys.exit(f"rialto: {source} has no bounds checks of the known form: is mypyc 2.4.1 in use?")
    source.write_text(text)


def borrowed_regions(source: Path) -> None:
    """Give back the reference that a call takes on each of its regions.

    The caller's object holds the words for as long as the call lasts. Without this no region is
    ever freed: a state that is dropped, or outgrown, stays in memory until the process ends.
    """
    text, found = UNBOXED.subn(r"\g<0> VEC_I64_DECREF(\1);", source.read_text())
    if "CPyDef_execute___" in text and not found:
        sys.exit(f"rialto: {source} takes no regions in the known form: is mypyc 2.4.1 in use?")
    source.write_text(text)


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
            strict_bounds(Path(source))
            borrowed_regions(Path(source))
    setup(ext_modules=extensions, cmdclass={"build_ext": BuildCore})


if os.environ.get("RIALTO_PURE") == "1":
    setup()
else:
    setup_compiled()
