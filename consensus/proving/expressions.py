"""The check of one expression: its kind, its constants, and an order that C cannot change.

What lives here: `Expressions`, the half of a body check that looks at expressions. What it must
never know: statements, other function bodies, and C.

*Apart*: C leaves open in which order operands and arguments are evaluated, Python does not. So an
expression with a call that writes memory may be joined only to constants and locals, which no call
can change; between pure reads the order makes no difference, and `and`, `or`, `if else` have the
same order in both.
"""

import ast
from collections.abc import Sequence
from typing import Final

from consensus.proving.program import (
    BOOL,
    BYTES,
    I64,
    I64_MAX,
    I64_MIN,
    LITERAL_MAX,
    LITERAL_MIN,
    READS,
    SHIFT_MAX,
    STILL,
    VEC,
    WRITES,
    Function,
    Program,
    fold,
)

UNKNOWN: Final = "unknown"  # the kind of an expression already reported; agrees with every other
ORDERINGS: Final = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
OPERATORS: Final = (
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod,
    ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor,
)  # fmt: skip


class Expressions:
    """Kinds of expressions inside one function; `assigned` is kept by the check of statements."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.constants = function.module.constants
        self.types = dict(function.parameters)
        self.assigned = set(self.types)

    def fault(self, node: ast.AST, rule: str, text: str) -> None:
        self.program.fault(self.function.module.path, node, rule, text)

    def want(self, node: ast.expr, kind: str) -> None:
        found = self.kind(node)
        if found not in (kind, UNKNOWN):
            self.fault(node, "type", f"{kind} expected, {ast.unparse(node)} is {found}")

    def condition(self, node: ast.expr) -> None:
        """A test: a bool, or an i64 that is true when it is not zero."""
        match node:
            case ast.BoolOp():
                for value in node.values:
                    self.condition(value)
            case ast.UnaryOp(op=ast.Not()):
                self.condition(node.operand)
            case _:
                found = self.kind(node)
                if found not in (BOOL, I64, UNKNOWN):
                    self.fault(node, "type", f"{ast.unparse(node)} is {found}, not a condition")

    def kind(self, node: ast.expr) -> str:
        value = fold(node, self.constants)
        if value is not None:
            return self.literal(node, value)
        match node:
            case ast.Constant(value=bool()):
                return BOOL
            case ast.Name():
                return self.name(node)
            case ast.Subscript():
                self.place(node)
                return I64
            case ast.UnaryOp(op=ast.Not()):
                self.condition(node.operand)
                return BOOL
            case ast.UnaryOp(op=ast.USub() | ast.Invert()):
                self.want(node.operand, I64)
                return I64
            case ast.BinOp():
                self.arithmetic(node, node.op, node.right)
                self.want(node.left, I64)
                self.want(node.right, I64)
                self.apart(node, [node.left, node.right])
                return I64
            case ast.Compare():
                return self.comparison(node)
            case ast.BoolOp():
                for operand in node.values:
                    self.want(operand, BOOL)
                return BOOL
            case ast.IfExp():
                self.condition(node.test)
                kind = self.kind(node.body)
                self.want(node.orelse, kind) if kind != UNKNOWN else self.kind(node.orelse)
                return kind
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                return self.call(node, name)
        text = f"{ast.unparse(node)}: an expression of the form {type(node).__name__}"
        self.fault(node, "expression", f"{text} is outside the subset")
        return UNKNOWN

    def literal(self, node: ast.expr, value: int) -> str:
        wraps = self.function.name in self.program.wrapping
        low, high = (I64_MIN, I64_MAX) if wraps else (LITERAL_MIN, LITERAL_MAX)
        if not low <= value <= high and not isinstance(node, ast.Name):
            text = "is outside [-2^62, 2^62); only a function listed as wrapping may use more"
            self.fault(node, "constant-range", f"{ast.unparse(node)} {text}")
        return I64

    def name(self, node: ast.Name) -> str:
        if node.id not in self.types:
            text = f"{node.id} is neither assigned here nor defined in or imported into this module"
            self.fault(node, "unknown-name", text)
            return UNKNOWN
        if node.id not in self.assigned:
            self.fault(node, "unassigned", f"{node.id} may be read before it is assigned")
            self.assigned.add(node.id)
        return self.types[node.id]

    def place(self, node: ast.Subscript) -> None:
        if not isinstance(node.value, ast.Name) or self.types.get(node.value.id) != VEC:
            text = f"{ast.unparse(node.value)} is not a {VEC} parameter"
            self.fault(node, "index", text)
        if isinstance(node.slice, ast.Slice | ast.Tuple):
            self.fault(node, "index", "one word at a time: slices are outside the subset")
            return
        self.want(node.slice, I64)
        value = fold(node.slice, self.constants)
        if (value is not None and value < 0) or isinstance(node.slice, ast.UnaryOp):
            text = "a negative index: the node would wrap to the end, the proof would stop"
            self.fault(node, "index", text)

    def arithmetic(self, node: ast.AST, operator: ast.operator, right: ast.expr) -> None:
        value = fold(right, self.constants)
        if not isinstance(operator, OPERATORS):
            text = f"the operator {type(operator).__name__} is outside the subset"
            self.fault(node, "operator", text)
        elif isinstance(operator, ast.FloorDiv | ast.Mod) and value is not None and value <= 0:
            self.fault(node, "division", "a divisor is positive")
        elif isinstance(operator, ast.LShift | ast.RShift):
            if value is None and not self.is_masked(right):
                text = f"shift by a constant or by a masked count, `({ast.unparse(right)}) & 63`"
                self.fault(node, "shift", text)
            elif value is not None and not 0 <= value <= SHIFT_MAX:
                self.fault(node, "shift", f"a shift count is in 0..{SHIFT_MAX}, not {value}")

    def is_masked(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitAnd):
            return False
        masks = [fold(side, self.constants) for side in (node.left, node.right)]
        return any(mask is not None and 0 <= mask <= SHIFT_MAX for mask in masks)

    def comparison(self, node: ast.Compare) -> str:
        sides = [node.left, *node.comparators]
        if not all(isinstance(operator, ORDERINGS) for operator in node.ops):
            self.fault(node, "comparison", "only == != < <= > >= compare")
        if any(not isinstance(side, ast.Name | ast.Constant) for side in sides[1:-1]):
            text = "the middle of a chained comparison is a name or a literal: give it a name"
            self.fault(node, "comparison", text)
        kinds = [self.kind(side) for side in sides]
        equality = len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        if not (set(kinds) <= {I64, UNKNOWN} or (equality and set(kinds) <= {BOOL, UNKNOWN})):
            text = "two i64 compare, and two bools by == and !=, nothing else"
            self.fault(node, "type", f"{ast.unparse(node)}: {text}")
        self.apart(node, sides)
        return BOOL

    def call(self, node: ast.Call, name: str) -> str:
        kinds: Sequence[tuple[str, str]]
        if name == "len" and len(node.args) == 1:
            if self.kind(node.args[0]) not in (VEC, BYTES, UNKNOWN):
                self.fault(node, "call", f"len is taken of a {VEC} or bytes parameter")
            return I64
        if name == "i64":
            kinds, result = [("value", I64)], I64
        elif name == "read_i64_le":
            kinds, result = [("data", BYTES), ("index", I64)], I64
        elif name in self.function.module.functions:
            callee = self.program.functions[name]
            kinds, result = callee.parameters, callee.result
        else:
            self.fault(node, "call", f"{name} is not a function of the core visible in this module")
            return UNKNOWN
        if len(kinds) != len(node.args):
            self.fault(node, "call", f"{name} takes {len(kinds)} arguments, not {len(node.args)}")
        for argument, (parameter, kind) in zip(node.args, kinds, strict=False):
            self.want(argument, kind)
            if kind == VEC and ast.unparse(argument) != parameter:
                text = f"region {ast.unparse(argument)} is passed as {parameter}: it keeps its name"
                self.fault(node, "region", text)
        self.apart(node, node.args)
        return result

    def effect(self, node: ast.expr) -> int:
        worst = STILL
        for part in ast.walk(node):
            if isinstance(part, ast.Subscript):
                worst = max(worst, READS)
            elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                callee = self.program.functions.get(part.func.id)
                worst = max(worst, callee.effect if callee else STILL)
        return worst

    def apart(self, node: ast.AST, parts: Sequence[ast.expr]) -> None:
        effects = sorted(self.effect(part) for part in parts)
        if len(effects) > 1 and effects[-1] == WRITES and effects[-2] != STILL:
            text = "a call that writes memory stands beside another use of memory, and C does not"
            self.fault(node, "order", f"{text} promise their order: assign its result to a local")
