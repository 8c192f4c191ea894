"""The check of one function body: which statements, and locals read only where they are assigned.

What lives here: `check_body`, which reports every fault of a body and fills the function's
`local_types`. What it must never know: other function bodies, and C.

A local is read only where every path has assigned it (definite assignment, as in the Java Language
Specification, chapter 16), because Python would raise there and C would read rubbish.
"""

import ast
import re
from collections.abc import Sequence

from consensus.proving.expressions import UNKNOWN, Expressions
from consensus.proving.program import BOOL, BUILT_IN, I64, NONE, REGIONS, Function, Program


def check_body(program: Program, function: Function) -> None:
    """Append the faults of `function` to the program and fill its `local_types`."""
    body = _Body(program, function)
    ended = body.block(function.node.body)
    if not ended and function.result != NONE:
        text = f"{function.name} can reach its end without a return of {function.result}"
        body.fault(function.node, "return", text)
    parameters = dict(function.parameters)
    function.local_types = {n: k for n, k in body.types.items() if n not in parameters}


class _Body(Expressions):
    def __init__(self, program: Program, function: Function) -> None:
        super().__init__(program, function)
        self.breaks: list[list[set[str]]] = []  # per open loop: what was assigned at each break
        for name in self.types:
            self.check_name(function.node, name)

    # Statements. True means: control cannot reach the next one.

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        ended = False
        for statement in statements:
            if ended:
                self.fault(statement, "unreachable", "control cannot reach this statement")
                return True
            ended = self.statement(statement)
        return ended

    def statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.Expr(value=ast.Call() as call):
                self.kind(call)
            case ast.Assign(targets=[target]):
                self.assign(target, node.value, None)
            case ast.AnnAssign():
                self.assign(node.target, node.value, node.annotation)
            case ast.AugAssign():
                self.augment(node)
            case ast.If():
                return self.branch(node)
            case ast.While(orelse=[]):
                return self.loop(node)
            case ast.Break() | ast.Continue() if self.breaks:
                if isinstance(node, ast.Break):
                    self.breaks[-1].append(set(self.assigned))
                return True
            case ast.Return():
                self.returns(node)
                return True
            case _:
                name = type(node).__name__
                self.fault(node, "statement", f"a statement {name} is outside the subset")
        return False

    def returns(self, node: ast.Return) -> None:
        if node.value is None:
            if self.function.result != NONE:
                self.fault(node, "return", f"the result is declared {self.function.result}")
        elif self.function.result == NONE:
            self.fault(node, "return", "the result is declared None: return without a value")
        else:
            self.want(node.value, self.function.result)

    def branch(self, node: ast.If) -> bool:
        self.condition(node.test)
        before = set(self.assigned)
        then_ends = self.block(node.body)
        after_then, self.assigned = self.assigned, before
        else_ends = self.block(node.orelse)
        if else_ends:
            self.assigned = after_then
        elif not then_ends:
            self.assigned = self.assigned & after_then
        return then_ends and else_ends

    def loop(self, node: ast.While) -> bool:
        for_ever = isinstance(node.test, ast.Constant) and node.test.value is True
        self.condition(node.test)
        before = set(self.assigned)
        self.breaks.append([])
        self.block(node.body)
        exits = self.breaks.pop() + ([] if for_ever else [before])
        self.assigned = set.intersection(*exits) if exits else before
        return not exits

    def assign(self, target: ast.expr, value: ast.expr | None, annotation: ast.expr | None) -> None:
        declared = ast.unparse(annotation) if annotation else None
        kind = declared if value is None else self.kind(value)
        match target:
            case ast.Name(id=name):
                if declared and UNKNOWN != kind != declared:
                    text = f"{name} is declared {declared}, its value is {kind}"
                    self.fault(target, "type", text)
                self.bind(target, name, declared or kind or UNKNOWN)
                if value is not None:
                    self.assigned.add(name)
            case ast.Subscript() if annotation is None and value is not None:
                self.place(target)
                self.apart(target, [target.slice, value])
                if kind not in (I64, UNKNOWN):
                    self.fault(target, "type", f"memory holds i64, the value is {kind}")
            case _:
                text = "only a local or one word of a region can be assigned, one at a time"
                self.fault(target, "assignment", text)

    def bind(self, node: ast.AST, name: str, kind: str) -> None:
        if name in REGIONS:
            self.fault(node, "region", f"{name} names a region and cannot be assigned")
        elif name not in self.types:
            self.check_name(node, name)
        if kind not in (I64, BOOL, UNKNOWN):
            self.fault(node, "type", f"{name} would be {kind}: a local is i64 or bool")
        elif UNKNOWN != self.types.setdefault(name, kind) != kind != UNKNOWN:
            self.fault(node, "type", f"{name} changes from {self.types[name]} to {kind}")

    def check_name(self, node: ast.AST, name: str) -> None:
        if name in self.constants or name in self.function.module.functions or name in BUILT_IN:
            self.fault(node, "name", f"{name} hides a constant or a function of the same name")
        elif name not in REGIONS and not re.fullmatch("[a-z_][a-z0-9_]*", name):
            self.fault(node, "name", f"{name} is not in lower case")

    def augment(self, node: ast.AugAssign) -> None:
        self.arithmetic(node, node.op, node.value)
        self.want(node.value, I64)
        if isinstance(node.target, ast.Subscript):
            self.place(node.target)
            self.apart(node, [node.target, node.value])
        elif isinstance(node.target, ast.Name):
            self.want(ast.copy_location(ast.Name(node.target.id, ast.Load()), node), I64)
        else:
            self.fault(node, "assignment", "only a local or one word of a region can be updated")
