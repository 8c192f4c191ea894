"""The compiled core as one file of freestanding C11.

What lives here: `translate`, text to text, the same text every time. What it must never know:
files and compilers (`node/ctwin.py`), and what is allowed (`subset.py`): it emits only programs
without a fault.

The C is as plain as the Python: one function for each function, one statement for each statement,
one `#define` for each constant. Everything in which the two languages differ has a name in capitals
in `prelude.h`: `ADD` for a sum, `LOAD_M` for a word of memory. A reader can hold the two texts side
by side, and an auditor has one short header to check.

Names keep their spelling with a prefix: constants `K_`, functions `f_`, entries `rialto_`. A local
that C or the prelude already uses gets a `_` at its end, and so does a local that ends in one, so
that two locals never meet.
"""

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from consensus.proving.program import BOOL, BYTES, I64, I64_MIN, NONE, VEC, Fault, Function, Program
from consensus.proving.program import fold as fold_constant
from consensus.proving.subset import WRAPPING, analyse, callees_first

C_TYPES: Final[Mapping[str, str]] = {
    I64: "i64",
    BOOL: "bool",
    NONE: "void",
    VEC: "vec",
    BYTES: "bytes",
}
RESERVED: Final = frozenset({
    "alignas", "alignof", "asm", "auto", "bool", "break", "bytes", "case", "char", "const",
    "constexpr", "continue", "default", "do", "double", "else", "enum", "extern", "false", "float",
    "for", "goto", "i64", "if", "inline", "int", "linux", "long", "nullptr", "register", "restrict",
    "return", "short", "signed", "sizeof", "static", "struct", "switch", "true", "typedef",
    "typeof", "u64", "u8", "union", "unix", "unsigned", "vec", "void", "volatile", "while",
})  # fmt: skip
CHECKED: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "ADD",
    ast.Sub: "SUB",
    ast.Mult: "MUL",
    ast.LShift: "SHL",
}
PLAIN: Final[Mapping[type[ast.operator], str]] = {
    ast.RShift: "SHR",
    ast.FloorDiv: "DIV",
    ast.Mod: "MOD",
}
BITWISE: Final[Mapping[type[ast.operator], str]] = {
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
ORDERINGS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
# One letter for each type in `rialto_signatures`, which tells a loader how to call the entries.
LETTERS: Final[Mapping[str, str]] = {I64: "i", BOOL: "b", BYTES: "B", NONE: "n"}


class NotTranslatable(Exception):
    """The sources leave the subset; `faults` says where, its text lists them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def translate(
    sources: Mapping[str, str], entries: Sequence[str] = (), wrapping: Iterable[str] = WRAPPING
) -> str:
    """C11 for `{path: text}` that exports `rialto_<entry>` and contains what the entries reach.

    Without entries, every function that no other one calls is exported. The text includes
    `prelude.h`; with `RIALTO_HOSTED` it also has `rialto_call_<entry>`, which returns 0 or the code
    of the trap. Raises `NotTranslatable` when the sources leave the subset or lack an entry.
    """
    program = analyse(sources, wrapping)
    called = {name for function in program.functions.values() for name in function.calls}
    chosen = sorted(set(entries) or program.functions.keys() - called)
    missing = [Fault("entries", 0, "entry", f"no function {n}") for n in chosen
               if n not in program.functions]  # fmt: skip
    if program.faults or missing:
        raise NotTranslatable(program.faults + missing)
    order = callees_first(program, chosen)
    functions = [_Emitter(program, program.functions[name], chosen) for name in order]
    bodies = [line for function in functions for line in function.emit()]
    used = {name for function in functions for name in function.constants_used}
    constants = [f"#define K_{n} {_literal(v)}" for n, v in program.constants.items() if n in used]
    signatures = [f"{f.prototype()};" for f in functions]
    lines = ['#include "prelude.h"', "", *constants, "", *signatures, *bodies]
    lines += _wrappers([program.functions[name] for name in chosen])
    return "\n".join(lines) + "\n"


def _wrappers(entries: Sequence[Function]) -> list[str]:
    lines = ["", "#ifdef RIALTO_HOSTED"]
    for entry in entries:
        parameters = [f"{C_TYPES[kind]} {_local(name)}" for name, kind in entry.parameters]
        call = f"rialto_{entry.name}({', '.join(_local(name) for name, _ in entry.parameters)})"
        lines += [
            f"int rialto_call_{entry.name}({', '.join([*parameters, 'i64 *result_'])});",
            f"int rialto_call_{entry.name}({', '.join([*parameters, 'i64 *result_'])}) {{",
            "    int code_ = setjmp(rialto_return);",
            "    if (code_ != 0) return code_;",
            f"    {call}; *result_ = 0;" if entry.result == NONE else f"    *result_ = {call};",
            "    return 0;",
            "}",
        ]
    table = [
        f"{entry.name} {''.join(LETTERS.get(k, n) for n, k in entry.parameters)}"
        f" {LETTERS[entry.result]}\\n"
        for entry in entries
    ]
    lines += ["extern const char rialto_signatures[];", "const char rialto_signatures[] ="]
    lines += [f'    "{row}"' for row in table or [""]]
    return [*lines, "    ;", "#endif"]


def _literal(value: int) -> str:
    if value == I64_MIN:
        return "INT64_MIN"
    return f"INT64_C({value})" if value >= 0 else f"(-INT64_C({-value}))"


def _local(name: str) -> str:
    return name + "_" if name.endswith("_") or name in RESERVED else name


class _Emitter:
    """One function; `constants_used` is complete after `emit`."""

    def __init__(self, program: Program, function: Function, exports: Sequence[str]) -> None:
        self.program = program
        self.function = function
        self.exports = exports
        self.wraps = "W" if function.name in program.wrapping else ""
        self.types = dict(function.parameters) | function.local_types
        self.constants_used: set[str] = set()
        self.lines: list[str] = []

    def prototype(self) -> str:
        function = self.function
        parameters = [f"{C_TYPES[kind]} {_local(name)}" for name, kind in function.parameters]
        head = "" if function.name in self.exports else "static "
        head += f"{C_TYPES[function.result]} {self.named(function.name)}"
        return f"{head}({', '.join(parameters) or 'void'})"

    def named(self, name: str) -> str:
        return f"rialto_{name}" if name in self.exports else f"f_{name}"

    def emit(self) -> list[str]:
        loaded = {n.id for n in ast.walk(self.function.node)
                  if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}  # fmt: skip
        for name, kind in self.function.local_types.items():
            self.write(1, f"{C_TYPES[kind]} {_local(name)} = 0;")
        for name in self.types:
            if name not in loaded:
                self.write(1, f"(void){_local(name)};")
        self.block(self.function.node.body, 1)
        return ["", f"{self.prototype()} {{", *self.lines, "}"]

    def write(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # Statements.

    def block(self, statements: Sequence[ast.stmt], depth: int) -> None:
        for statement in statements:
            self.statement(statement, depth)

    def statement(self, node: ast.stmt, depth: int) -> None:
        match node:
            case ast.Expr(value=ast.Call() as call):
                self.write(depth, f"{self.text(call)};")
            case ast.Return(value=None):
                self.write(depth, "return;")
            case ast.Return(value=ast.expr() as value):
                self.write(depth, f"return {self.text(value)};")
            case ast.Break():
                self.write(depth, "break;")
            case ast.Continue():
                self.write(depth, "continue;")
            case ast.Assign(targets=[target]):
                self.assign(target, node.value, depth)
            case ast.AnnAssign(value=ast.expr() as value):
                self.assign(node.target, value, depth)
            case ast.AugAssign():
                self.augment(node, depth)
            case ast.If():
                self.branch(node, depth, "")
            case ast.While():
                self.write(depth, f"while {self.test(node.test)} {{")
                self.block(node.body, depth + 1)
                self.write(depth, "}")

    def branch(self, node: ast.If, depth: int, before: str) -> None:
        self.write(depth, f"{before}if {self.test(node.test)} {{")
        self.block(node.body, depth + 1)
        match node.orelse:
            case []:
                self.write(depth, "}")
            case [ast.If() as other]:
                self.branch(other, depth, "} else ")
            case other:
                self.write(depth, "} else {")
                self.block(other, depth + 1)
                self.write(depth, "}")

    def assign(self, target: ast.expr, value: ast.expr, depth: int) -> None:
        if isinstance(target, ast.Subscript):
            region = ast.unparse(target.value)
            place = self.text(target.slice)
            self.write(depth, f"STORE_{region}({region}, {place}, {self.text(value)});")
        elif isinstance(target, ast.Name):
            self.write(depth, f"{_local(target.id)} = {self.text(value)};")

    def augment(self, node: ast.AugAssign, depth: int) -> None:
        right = self.text(node.value)
        if isinstance(node.target, ast.Subscript):
            region = ast.unparse(node.target.value)
            result = self.binary(node.op, f"LOAD_{region}({region}, at_)", right)
            place = self.text(node.target.slice)
            self.write(depth, f"{{ i64 at_ = {place}; STORE_{region}({region}, at_, {result}); }}")
        elif isinstance(node.target, ast.Name):
            name = _local(node.target.id)
            self.write(depth, f"{name} = {self.binary(node.op, name, right)};")

    # Expressions, as C text that binds tighter than any operator.

    def is_bool(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return self.types.get(name) == BOOL
            case ast.Call(func=ast.Name(id=name)) if name in self.program.functions:
                return self.program.functions[name].result == BOOL
            case ast.IfExp():
                return self.is_bool(node.body)
            case ast.Constant(value=bool()) | ast.Compare() | ast.BoolOp():
                return True
            case ast.UnaryOp(op=ast.Not()):
                return True
        return False

    def condition(self, node: ast.expr) -> str:
        match node:
            case ast.BoolOp():
                joint = " && " if isinstance(node.op, ast.And) else " || "
                return f"({joint.join(self.condition(value) for value in node.values)})"
            case ast.UnaryOp(op=ast.Not()):
                return f"(!{self.condition(node.operand)})"
        return self.text(node) if self.is_bool(node) else f"({self.text(node)} != 0)"

    def test(self, node: ast.expr) -> str:
        condition = self.condition(node)
        return condition if condition.startswith("(") else f"({condition})"

    def text(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=bool() as truth):
                return "true" if truth else "false"
            case ast.Name(id=name) if name in self.types:
                return _local(name)
            case ast.Name(id=name):
                self.constants_used.add(name)
                return f"K_{name}"
        value = fold_constant(node, self.function.module.constants)
        if value is not None:
            return _literal(value)
        match node:
            case ast.Subscript(value=ast.Name(id=region)):
                return f"LOAD_{region}({region}, {self.text(node.slice)})"
            case ast.BinOp():
                return self.binary(node.op, self.text(node.left), self.text(node.right))
            case ast.UnaryOp(op=ast.USub()):
                return f"{self.wraps}NEG({self.text(node.operand)})"
            case ast.UnaryOp(op=ast.Invert()):
                return f"(~{self.text(node.operand)})"
            case ast.Compare():
                return self.comparison(node)
            case ast.IfExp():
                test = self.condition(node.test)
                return f"({test} ? {self.text(node.body)} : {self.text(node.orelse)})"
            case ast.Call(func=ast.Name(id=name)):
                return self.call(name, node.args)
        return self.condition(node)  # and, or, not

    def comparison(self, node: ast.Compare) -> str:
        sides = [self.text(side) for side in (node.left, *node.comparators)]
        pairs = [
            f"({left} {ORDERINGS[type(operator)]} {right})"
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return pairs[0] if len(pairs) == 1 else f"({' && '.join(pairs)})"

    def binary(self, operator: ast.operator, left: str, right: str) -> str:
        kind = type(operator)
        if kind in BITWISE:
            return f"({left} {BITWISE[kind]} {right})"
        name = PLAIN[kind] if kind in PLAIN else self.wraps + CHECKED[kind]
        return f"{name}({left}, {right})"

    def call(self, name: str, arguments: Sequence[ast.expr]) -> str:
        if name == "len":
            return f"({self.text(arguments[0])}.len)"
        if name == "i64":
            return self.text(arguments[0])
        texts = ", ".join(self.text(argument) for argument in arguments)
        if name == "read_i64_le":
            return f"READ_I64_LE({texts})"
        return f"{self.named(name)}({texts})"
