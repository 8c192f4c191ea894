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
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a build in its own environment does not have it there

from scripts.core_c import rewrite  # noqa: E402

MODULE_LIST = ROOT / "consensus" / "core_modules.txt"
# Hidden symbols let the C compiler inline across functions; -fwrapv makes the wrap-around of
# signed integers a rule of the language, as it is for the operands mypyc wraps itself.
COMPILE_ARGS = ["-fvisibility=hidden", "-fwrapv"]

MODULES = MODULE_LIST.read_text().split()
NATIVE = "consensus/recovery.c"  # written in C: it runs outside the interpreter lock
MANIFEST = {
    path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
    for path in [MODULE_LIST.relative_to(ROOT).as_posix(), *MODULES, NATIVE]
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
    extensions.append(Extension("consensus.recovery", [NATIVE], extra_compile_args=["-O3"]))
    setup(ext_modules=extensions, cmdclass={"build_ext": BuildCore})


if os.environ.get("RIALTO_PURE") == "1":
    setup()
else:
    setup_compiled()
