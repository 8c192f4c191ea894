"""Build the C twin of the compiled core with the system's compiler, and call it.

What lives here: the only place where generated C meets files, compilers and ctypes. The twin is a
third execution of the same source, beside interpreted Python and mypyc; in mode `overflow` it is
also a sanitizer, because there every sum that leaves 64 bits stops with a trap.
"""

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import consensus.proving
from consensus.proving.subset import CORE_MODULES, WRAPPING
from consensus.proving.translate import translate

FLAGS: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding")
# In mode overflow the sanitizer also proves that the C is right without -fwrapv.
MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "plain": ("-fwrapv",),
    "witness": ("-fwrapv", "-DRIALTO_WITNESS"),
    "trace": ("-fwrapv", "-DRIALTO_TRACE"),
    "overflow": ("-DRIALTO_OVERFLOW", "-fsanitize=undefined", "-fno-sanitize-recover=all"),
    "unchecked": ("-fwrapv", "-DRIALTO_UNCHECKED"),
    # The driver of the bench reads the POSIX clock, which strict C11 does not declare.
    "fast": ("-fwrapv", "-O3", "-D_POSIX_C_SOURCE=199309L"),
}
TRAPS: Final[Mapping[int, str]] = {
    1: "an index outside its region or batch",
    2: "a leaf that the witness lacks",
    3: "a division of a negative value or by a value that is not positive",
    4: "a result outside 64 bits",
}
LEAF_WORDS: Final = 32  # LEAF_SHIFT in prelude.h


class CompilerMissing(Exception):
    """There is no C compiler, or it refused the generated C."""


class Trap(Exception):
    """The twin stopped; `code` is one of `TRAPS`. Memory keeps what was written before."""

    def __init__(self, entry: str, code: int) -> None:
        super().__init__(f"{entry} stopped: {TRAPS.get(code, 'unknown trap')} (code {code})")
        self.code = code


class Vec(ctypes.Structure):
    """A region as the C takes it; it does not keep the words alive."""

    _fields_ = (("len", ctypes.c_int64), ("items", ctypes.c_void_p))


class Bytes(ctypes.Structure):
    """A batch as the C takes it; it does not keep the bytes alive."""

    _fields_ = (("len", ctypes.c_int64), ("items", ctypes.c_char_p))


_ARGUMENTS: Final[Mapping[str, type]] = {
    "M": Vec,
    "S": Vec,
    "B": Bytes,
    "i": ctypes.c_int64,
    "b": ctypes.c_bool,
}


def core_sources(root: Path) -> dict[str, str]:
    """The texts of the core modules that exist under `root`, by relative path."""
    return {
        path: (root / path).read_text(encoding="utf-8")
        for path in CORE_MODULES
        if (root / path).is_file()
    }


def build(
    sources: Path | Mapping[str, str],
    out_dir: Path,
    mode: str = "plain",
    cc: str = "cc",
    extra_c: str = "",
    *,
    entries: Sequence[str] = (),
    wrapping: Iterable[str] = WRAPPING,
) -> Path:
    """Translate and compile; returns the shared library, reused when nothing changed.

    `sources` is the root of the repository or `{path: text}`. `extra_c` is appended to the C, for a
    driver that must not cross into Python. Raises `CompilerMissing` and `NotTranslatable`.
    """
    compiler = shutil.which(cc)
    if compiler is None:
        text = f"no C compiler {cc!r} on the path: install gcc or clang, or name one with cc="
        raise CompilerMissing(text)
    texts = core_sources(sources) if isinstance(sources, Path) else sources
    c_text = f"{translate(texts, entries, wrapping)}{extra_c}"
    include = Path(consensus.proving.__file__).parent
    flags = [*FLAGS, *MODES[mode], "-DRIALTO_HOSTED", "-shared", "-fPIC"]
    identity = "\0".join([compiler, *flags, c_text, (include / "prelude.h").read_text()])
    stem = f"core-{mode}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    library = out_dir / f"{stem}.so"
    if not library.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / f"{stem}.c").write_text(c_text, encoding="utf-8")
        partial = out_dir / f"{stem}.partial"
        command = [compiler, *flags, f"-I{include}", str(out_dir / f"{stem}.c"), "-o", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompilerMissing(f"{cc} refused the generated C:\n{done.stderr}")
        partial.replace(library)
    return library


class CTwin:
    """A library made by `build`, with two regions of its own.

    `words_M` and `words_S` are little-endian 64-bit words. Not thread-safe: in the modes trace and
    witness the maps are global in the library, so use one `CTwin` for each library there.
    """

    def __init__(self, library: Path, words_M: bytes, words_S: bytes) -> None:
        self.library: Final = ctypes.CDLL(str(library))
        self._regions = {"M": self._words(words_M), "S": self._words(words_S)}
        self._leaves = -(-len(words_M) // (8 * LEAF_WORDS))
        self._maps: dict[str, ctypes.Array[ctypes.c_uint8]] = {}
        for name in ("rialto_present", "rialto_read", "rialto_written"):
            if hasattr(self.library, name):
                self._maps[name] = (ctypes.c_uint8 * max(self._leaves, 1))()
                pointer = ctypes.c_void_p.in_dll(self.library, name)
                pointer.value = ctypes.addressof(self._maps[name])
        table = ctypes.addressof(ctypes.c_char.in_dll(self.library, "rialto_signatures"))
        rows = [row.split(" ") for row in ctypes.string_at(table).decode().splitlines()]
        self.signatures: Final = {name: (parameters, result) for name, parameters, result in rows}

    @staticmethod
    def _words(data: bytes) -> "ctypes.Array[ctypes.c_int64]":
        if len(data) % 8:
            raise ValueError(f"a region of {len(data)} bytes is not a whole number of words")
        return (ctypes.c_int64 * (len(data) // 8)).from_buffer_copy(data)

    def call(self, entry: str, batch: bytes = b"", *numbers: int) -> int:
        """Run an entry; the regions and the batch are passed where its parameters name them.

        Returns its result, bools as 0 or 1, None as 0. Raises `Trap`.
        """
        parameters, _ = self.signatures[entry]
        waiting = list(numbers)
        arguments: list[object] = []
        for letter in parameters:
            if letter in self._regions:
                arguments.append(self.vec(letter))
            elif letter == "B":
                arguments.append(Bytes(len(batch), batch))
            elif waiting:
                arguments.append(waiting.pop(0))
            else:
                raise TypeError(f"{entry} takes more numbers: its parameters are {parameters}")
        if waiting:
            raise TypeError(f"{entry} takes fewer numbers: its parameters are {parameters}")
        result = ctypes.c_int64()
        function = self.library[f"rialto_call_{entry}"]
        kinds = [_ARGUMENTS[letter] for letter in parameters]
        function.argtypes = [*kinds, ctypes.POINTER(ctypes.c_int64)]
        code = int(function(*arguments, ctypes.byref(result)))
        if code:
            raise Trap(entry, code)
        return result.value

    def vec(self, which: str) -> Vec:
        """Region "M" or "S" as an argument of a function of `library`; valid while this lives."""
        region = self._regions[which]
        return Vec(len(region), ctypes.addressof(region))

    def memory(self, which: str) -> memoryview:
        """A live, writable view of region "M" or "S" as words (format `q`)."""
        return memoryview(self._regions[which]).cast("B").cast("q")

    def read_M(self) -> bytes:
        """A copy of the committed region."""
        return bytes(self._regions["M"])

    def show_leaves(self, leaves: Iterable[int]) -> None:
        """Mode witness: exactly these leaves of M are present."""
        present = self._maps["rialto_present"]
        ctypes.memset(present, 0, len(present))
        for leaf in leaves:
            present[leaf] = 1

    def leaves_seen(self, what: str) -> list[int]:
        """Mode trace: leaves of M that were "read" or "written" since the library was bound."""
        return [leaf for leaf, mark in enumerate(self._maps[f"rialto_{what}"]) if mark]
