"""Every small change to a source text that a test should notice.

What lives here: `mutants_of`, text to list, the same list every time. What must never live here:
how a mutant is run, or whether it is worth running.

Two kinds of change that cannot be noticed are left out: the boundary of `if a < b: b = a`, and
adding an offset that is zero turned into subtracting it.

A mutant is the text of one changed function (or of one changed statement at module level), so that
it can be cached by its text and swapped in by name. Changes of comments, docstrings, annotations,
decorators, imports and strings are not made.
"""

import ast
import copy
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from consensus import layout

CHECK: Final = "check"  # a refusal, a raise or one condition of either is gone
SHOWN_MAX: Final = 70  # characters of source in a report
MODULE: Final = ""  # the function of a statement at module level

COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip


# Offsets that are zero: adding and subtracting them is the same program.
ZEROS: Final = frozenset(name for name, value in vars(layout).items() if value == 0)


class Mutant(NamedTuple):
    """One change; `path` is relative to the root, `number` counts the changes of the module."""

    path: str
    number: int
    function: str  # "book", "Header.digest"; MODULE for a statement at module level
    line: int
    kind: str
    what: str
    text: str  # the changed function or statement

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class _Edit(NamedTuple):
    """Put `new` into a field of `parent`, at `at` if the field is a list."""

    parent: ast.AST
    field: str
    at: int | None
    new: object
    kind: str
    what: str
    line: int

    def swap(self, new: object) -> object:
        if self.at is None:
            old = getattr(self.parent, self.field)
            setattr(self.parent, self.field, new)
        else:
            items = getattr(self.parent, self.field)
            old, items[self.at] = items[self.at], new
        return old


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every mutant of a module, in order of its lines; two that read the same are one."""
    tree = ast.parse(text)
    found: list[Mutant] = []
    seen: set[tuple[str, str]] = set()
    for name, node in _units(tree, ""):
        seen.add((name, ast.unparse(node)))
        for edit in _edits_of_unit(node):
            old = edit.swap(edit.new)
            changed = ast.unparse(node)
            edit.swap(old)
            if (name, changed) not in seen:
                seen.add((name, changed))
                place = (path, len(found), name, edit.line)
                found.append(Mutant(*place, edit.kind, edit.what, changed))
    return found


def mutated_module(text: str, mutant: Mutant) -> ast.Module:
    """The module with the mutant in the place of what it changes, ready to compile."""
    tree = ast.parse(text)
    changed = ast.parse(mutant.text).body[0]

    def put(body: list[ast.stmt], prefix: str) -> bool:
        for at, node in enumerate(body):
            if isinstance(node, ast.ClassDef) and put(node.body, f"{prefix}{node.name}."):
                return True
            if mutant.function == MODULE:
                hit = node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
            else:
                hit = f"{prefix}{getattr(node, 'name', None)}" == mutant.function
            if hit and not isinstance(node, ast.ClassDef):
                body[at] = ast.fix_missing_locations(changed)
                return True
        return False

    if not put(tree.body, ""):
        raise ValueError(f"{mutant} is not a place of this text")
    return tree


def _units(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """The functions and methods by qualified name, and the statements outside them."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _units(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield MODULE, node


def _edits_of_unit(node: ast.stmt) -> Iterator[_Edit]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns_bool = isinstance(node.returns, ast.Name) and node.returns.id == "bool"
        returns_int = isinstance(node.returns, ast.Name) and node.returns.id in ("i64", "int")
        kind = "bool" if returns_bool else "int" if returns_int else ""
        yield from _edits_of_block(node, "body", kind)
    else:
        yield from _edits_of_expressions(node)


def _edits_of_block(parent: ast.AST, field: str, returns: str) -> Iterator[_Edit]:
    for index, node in enumerate(getattr(parent, field)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if (removal := _removal(parent, field, index, node)) is not None:
            yield removal
        if isinstance(node, ast.Return):
            yield from _edits_of_return(node, returns)
        if _is_clamp(node):
            edits = _edits_of_expressions(node)
            yield from (edit for edit in edits if edit.kind != "comparison")
        else:
            yield from _edits_of_expressions(node)
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(getattr(node, inner, None), list):
                yield from _edits_of_block(node, inner, returns)
        for arm in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            yield from _edits_of_block(arm, "body", returns)


def _is_clamp(node: ast.stmt) -> bool:
    """`if a < b: b = a`: at equality both arms give the same value."""
    match node:
        case ast.If(ast.Compare(a, _, [b]), [ast.Assign([target], value)], []):
            return {ast.unparse(a), ast.unparse(b)} == {ast.unparse(target), ast.unparse(value)}
    return False


def _removal(parent: ast.AST, field: str, index: int, node: ast.stmt) -> _Edit | None:
    """The statement gone: a check (an `if` that refuses), a store, a call, an assignment."""
    shown = _shown(node)
    if isinstance(node, ast.If):
        last = node.body[-1]
        refuses = isinstance(last, ast.Return | ast.Raise | ast.Break | ast.Continue)
        sets = len(node.body) == 1 and isinstance(last, ast.Assign)
        kind = CHECK if refuses or sets else "branch"
        keeps: ast.stmt = ast.Pass()
        if node.orelse:
            keeps = ast.If(ast.Constant(True), node.orelse, []) if len(node.orelse) > 1 else (
                node.orelse[0])  # fmt: skip
        return _Edit(parent, field, index, keeps, kind, f"removed `{shown}`", node.lineno)
    is_local = isinstance(node, ast.AnnAssign)
    kept = isinstance(node, ast.Return | ast.Pass | ast.While | ast.For | ast.Try | ast.With)
    if is_local or kept or isinstance(node, ast.FunctionDef | ast.Match | ast.Import):
        return None
    kind = CHECK if isinstance(node, ast.Raise) else "statement"
    return _Edit(parent, field, index, ast.Pass(), kind, f"removed `{shown}`", node.lineno)


def _edits_of_return(node: ast.Return, returns: str) -> Iterator[_Edit]:
    value = node.value
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return
    new: ast.expr = ast.Constant(None)
    if returns == "int":
        new = ast.BinOp(copy.copy(value), ast.Add(), ast.Constant(1))
    elif returns == "bool":
        new = ast.UnaryOp(ast.Not(), copy.copy(value))
    what = f"`{_shown(node)}` returns `{_shown(new)}`"
    yield _Edit(node, "value", None, new, "return", what, node.lineno)


def _edits_of_expressions(node: ast.stmt) -> Iterator[_Edit]:
    """Edits inside the expressions of one statement, not of the statements inside it."""
    skipped = ("annotation", "decorator_list", "returns", "args", "type_params")
    for field, value in ast.iter_fields(node):
        if field in skipped and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.expr):
                yield from _edits_at(node, field, index, child)
    if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        op = OPERATORS[type(node.op)]()
        flipped = ast.AugAssign(node.target, op, node.value)
        what = f"`{_shown(node)}` became `{_shown(flipped)}`"
        yield _Edit(node, "op", None, op, "operator", what, node.lineno)


def _edits_at(parent: ast.AST, field: str, index: int | None, node: ast.expr) -> Iterator[_Edit]:
    """Edits of one expression and of everything inside it."""
    condition = field == "test" or isinstance(parent, ast.BoolOp) or field == "ifs"
    for kind, new in _replacements(node, condition):
        what = f"`{_shown(node)}` became `{_shown(new)}`"
        yield _Edit(parent, field, index, new, kind, what, node.lineno)
    if isinstance(node, ast.JoinedStr | ast.Lambda):
        return
    for name, value in ast.iter_fields(node):
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.expr):
                yield from _edits_at(node, name, at, child)
            elif isinstance(child, ast.keyword):
                yield from _edits_at(child, "value", None, child.value)
            elif isinstance(child, ast.comprehension):
                yield from _edits_at(child, "iter", None, child.iter)
                for number, test in enumerate(child.ifs):
                    yield from _edits_at(child, "ifs", number, test)


def _replacements(node: ast.expr, condition: bool) -> Iterator[tuple[str, ast.expr]]:
    """What may stand in the place of this node itself."""
    match node:
        case ast.BoolOp(op=op, values=values):
            for at in range(len(values)):
                rest: Sequence[ast.expr] = values[:at] + values[at + 1 :]
                yield CHECK, rest[0] if len(rest) == 1 else ast.BoolOp(op, list(rest))
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "operator", ast.BoolOp(other, values)
        case ast.Compare(left=left, ops=[op], comparators=comparators):
            yield "comparison", ast.Compare(left, [COMPARISONS[type(op)]()], comparators)
            if condition and isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield "negation", ast.UnaryOp(ast.Not(), node)
        case ast.Compare():
            yield "negation", ast.UnaryOp(ast.Not(), node)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "negation", operand
        case ast.UnaryOp(op=ast.USub() | ast.Invert(), operand=operand):
            yield "operator", operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            if isinstance(right, ast.Name) and right.id in ZEROS and isinstance(op, ast.Add):
                return
            yield "operator", ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Constant(value=bool() as value):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield "constant", ast.Constant(value + 1)
        case ast.Name() | ast.Call() | ast.Attribute() if condition:
            yield "negation", ast.UnaryOp(ast.Not(), node)


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node))
    if isinstance(node, ast.If):
        text = ast.unparse(ast.If(node.test, node.body[:2], []))
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."
