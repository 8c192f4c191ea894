"""The compiled core as data: its modules, constants, signatures and who may change memory.

What lives here: reading source texts with `ast` into a `Program`, and everything that can be judged
without looking inside a function body. What it must never know: files, C, or how a body is checked
(`bodies.py`).

The core is one flat namespace spread over several modules. A name is defined once, imported under
that name, and means the same thing everywhere; so a C identifier can be read back to its Python
line without a table. Every fault is collected, none raised: one run shows the whole list.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

I64: Final = "i64"
BOOL: Final = "bool"
NONE: Final = "None"
VEC: Final = "vec[i64]"
BYTES: Final = "bytes"
PARAMETER_TYPES: Final = (I64, BOOL, VEC, BYTES)
RESULT_TYPES: Final = (I64, BOOL, NONE)

# A region keeps its name through every call, so that the text alone tells committed memory, whose
# leaves a prover must supply, from scratch, which every run starts at zero.
REGIONS: Final = ("M", "S")

# mypyc keeps an integer literal in a machine word only inside this range; others become a boxed
# object that is converted at every use (20-80 ns each, measured).
LITERAL_MIN: Final = -(1 << 62)
LITERAL_MAX: Final = (1 << 62) - 1
I64_MIN: Final = -(1 << 63)
I64_MAX: Final = (1 << 63) - 1
SHIFT_MAX: Final = 63

OUTSIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "__future__": ("annotations",),
    "librt.strings": ("read_i64_le",),
    "librt.vecs": ("vec",),
    "mypy_extensions": ("i64",),
    "typing": ("Final",),
}
BUILT_IN: Final = ("i64", "len", "read_i64_le", "vec", "bytes", "bool", "range")

# What calling a function, or evaluating an expression, does to memory.
STILL: Final = 0
READS: Final = 1
WRITES: Final = 2


class Fault(NamedTuple):
    """One place where a source leaves the subset; `rule` is a stable short name."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text} [{self.rule}]"


@dataclass
class Module:
    """One source file; `constants` and `functions` are the names visible inside it."""

    path: str
    tree: ast.Module
    constants: dict[str, int] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)


@dataclass
class Function:
    """A function of the core; `local_types` is filled by the check of its body."""

    name: str
    module: Module
    node: ast.FunctionDef
    parameters: tuple[tuple[str, str], ...]
    result: str
    effect: int = STILL
    calls: tuple[str, ...] = ()
    local_types: dict[str, str] = field(default_factory=dict)


@dataclass
class Program:
    """Everything the emitter needs; sound only while `faults` is empty."""

    wrapping: tuple[str, ...] = ()
    constants: dict[str, int] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: str, node: ast.AST, rule: str, text: str) -> None:
        self.faults.append(Fault(path, getattr(node, "lineno", 1), rule, text))


def fold(node: ast.expr, constants: Mapping[str, int]) -> int | None:
    """The value of a constant integer expression, or None when it is not one."""
    match node:
        case ast.Constant(value=value) if type(value) is int:
            return value
        case ast.Name(id=name):
            return constants.get(name)
        case ast.UnaryOp(op=operator, operand=operand):
            value = fold(operand, constants)
            if value is not None and isinstance(operator, ast.USub):
                return -value
            return ~value if value is not None and isinstance(operator, ast.Invert) else None
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = fold(left, constants), fold(right, constants)
            return None if a is None or b is None else _fold_binary(operator, a, b)
    return None


def _fold_binary(operator: ast.operator, a: int, b: int) -> int | None:
    match operator:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.BitAnd():
            return a & b
        case ast.BitOr():
            return a | b
        case ast.BitXor():
            return a ^ b
        case ast.LShift() if 0 <= b <= SHIFT_MAX:
            return a << b
        case ast.RShift() if 0 <= b <= SHIFT_MAX:
            return a >> b
        case ast.FloorDiv() if b > 0:
            return a // b
        case ast.Mod() if b > 0:
            return a % b
    return None


def read(sources: Mapping[str, str], wrapping: Iterable[str] = ()) -> Program:
    """Parse `{path: text}`, paths relative to the root such as `consensus/layout.py`."""
    program = Program(tuple(sorted(wrapping)))
    modules: dict[str, Module] = {}
    for path in sorted(sources):
        try:
            tree = ast.parse(sources[path], path)
        except SyntaxError as error:
            text = f"not Python: {error.msg}"
            program.faults.append(Fault(path, error.lineno or 1, "syntax", text))
            continue
        modules[path.removesuffix(".py").replace("/", ".")] = Module(path, tree)
    done: dict[str, bool] = {}
    for name in modules:
        _read_module(program, modules, name, done)
    _find_effects(program)
    return program


def _read_module(
    program: Program, modules: dict[str, Module], name: str, done: dict[str, bool]
) -> None:
    """Read a module after those it imports; `done[name]` is False while it is being read."""
    if name in done:
        return
    done[name] = False
    module = modules[name]
    for node in module.tree.body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.ImportFrom():
                _read_import(program, modules, module, node, done)
            case ast.AnnAssign(target=ast.Name(id=constant)):
                _read_constant(program, module, node, constant)
            case ast.FunctionDef():
                _read_function(program, module, node)
            case _:
                text = f"{type(node).__name__} at module level: only imports, Final constants and"
                program.fault(module.path, node, "module-level", f"{text} functions may stand here")
    done[name] = True


def _read_import(
    program: Program,
    modules: dict[str, Module],
    module: Module,
    node: ast.ImportFrom,
    done: dict[str, bool],
) -> None:
    source = node.module or ""
    if any(alias.asname for alias in node.names):
        text = "an imported name keeps its name: the core is one flat namespace"
        program.fault(module.path, node, "import", text)
    elif node.level == 0 and source in OUTSIDE:
        for alias in node.names:
            if alias.name not in OUTSIDE[source]:
                text = f"{source}.{alias.name} is outside the subset"
                program.fault(module.path, node, "import", text)
    elif node.level or source not in modules:
        text = f"{'.' * node.level}{source} is not a core module"
        program.fault(module.path, node, "import", text)
    else:
        _read_module(program, modules, source, done)
        if not done[source]:
            program.fault(module.path, node, "import", f"{source} imports this module in a circle")
        for alias in node.names:
            if alias.name not in modules[source].own:
                text = f"{source} defines no constant or function {alias.name}"
                program.fault(module.path, node, "import", text)
            elif alias.name in modules[source].functions:
                module.functions.add(alias.name)
            else:
                module.constants[alias.name] = modules[source].constants[alias.name]


def _read_constant(program: Program, module: Module, node: ast.AnnAssign, name: str) -> None:
    annotation = ast.unparse(node.annotation)
    value = None if node.value is None else fold(node.value, module.constants)
    if annotation not in ("Final", "Final[int]", "Final[i64]"):
        text = f"{name} is not Final: the core has no global variables"
        program.fault(module.path, node, "global", text)
    elif value is None:
        text = f"{name} is not a constant integer expression of names above it"
        program.fault(module.path, node, "constant", text)
    elif not LITERAL_MIN <= value <= LITERAL_MAX:
        text = f"{name} is outside [-2^62, 2^62): the compiler would box it at every use"
        program.fault(module.path, node, "constant-range", text)
    elif program.constants.get(name, value) != value or name in program.functions:
        text = f"{name} already means something else in another place of the core"
        program.fault(module.path, node, "duplicate-name", text)
    if value is not None:
        program.constants.setdefault(name, value)
        module.constants[name] = value
    else:
        module.constants[name] = 0  # so that its uses are not reported a second time
    module.own.add(name)


def _read_function(program: Program, module: Module, node: ast.FunctionDef) -> None:
    name, arguments = node.name, node.args
    if name in program.functions or name in program.constants or name in BUILT_IN:
        other = program.functions[name].module.path if name in program.functions else "the core"
        text = f"{name} is already defined in {other}: the core is one flat namespace"
        program.fault(module.path, node, "duplicate-name", text)
    if node.decorator_list or arguments.defaults or arguments.kwonlyargs or arguments.posonlyargs:
        text = f"{name} has a decorator, a default or a keyword-only or positional-only parameter"
        program.fault(module.path, node, "signature", text)
    if arguments.vararg or arguments.kwarg:
        program.fault(module.path, node, "signature", f"{name} takes a star argument")
    parameters = []
    for argument in arguments.args:
        kind = ast.unparse(argument.annotation) if argument.annotation else "nothing"
        parameters.append((argument.arg, kind))
        if kind not in PARAMETER_TYPES:
            text = f"{argument.arg} is declared {kind}: one of {', '.join(PARAMETER_TYPES)}"
            program.fault(module.path, argument, "signature", text)
        elif (kind == VEC) != (argument.arg in REGIONS):
            text = f"{argument.arg}: a {VEC} is named {' or '.join(REGIONS)}, and nothing else is"
            program.fault(module.path, argument, "region", text)
        elif kind != VEC and not re.fullmatch("[a-z_][a-z0-9_]*", argument.arg):
            program.fault(module.path, argument, "name", f"{argument.arg} is not in lower case")
    result = ast.unparse(node.returns) if node.returns else "nothing"
    if result not in RESULT_TYPES:
        text = f"{name} returns {result}: one of {', '.join(RESULT_TYPES)}"
        program.fault(module.path, node, "signature", text)
    module.functions.add(name)
    module.own.add(name)
    program.functions.setdefault(name, Function(name, module, node, tuple(parameters), result))


def _is_region(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in REGIONS


def _find_effects(program: Program) -> None:
    """Fill `calls` and `effect`; an effect passes from callee to caller until nothing changes."""
    for function in program.functions.values():
        called = set()
        for node in ast.walk(function.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
            elif isinstance(node, ast.Subscript) and _is_region(node.value):
                stores = isinstance(node.ctx, ast.Store)
                function.effect = max(function.effect, WRITES if stores else READS)
        function.calls = tuple(sorted(called & program.functions.keys()))
    changed = True
    while changed:
        changed = False
        for function in program.functions.values():
            reached = [program.functions[name].effect for name in function.calls]
            if max(reached, default=STILL) > function.effect:
                function.effect = max(reached)
                changed = True
