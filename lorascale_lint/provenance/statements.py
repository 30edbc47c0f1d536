"""Statements: branches taken both ways and joined, loops run once or item by item, early exits remembered."""

from __future__ import annotations

import ast
from fractions import Fraction

from lorascale_lint.ledger.entries import Return
from lorascale_lint.linking.program import ClassInfo, FunctionInfo
from lorascale_lint.provenance import expressions, keys
from lorascale_lint.provenance.heap import ABSENT, Items
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.objects import instance, store_attribute
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number, scaled
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Const,
    Element,
    Guards,
    Hole,
    Klass,
    Place,
    Ref,
    Text,
    Tup,
    Union,
    Value,
    each,
    join,
)

UNROLL_LIMIT = 12
"""Items of a loop over a literal that are run one by one."""


def block(m: Machine, body: list[ast.stmt]) -> bool:
    """Run a suite; True if control never reaches its end."""
    outer = m.frame.guards
    for statement in body:
        if run(m, statement):
            m.frame.guards = outer
            return True
    return False


def run(m: Machine, node: ast.stmt) -> bool:
    """Run one statement; True if control never goes on behind it."""
    m.tick()
    m.frame.statement = (node.lineno, _last_row(node))
    match node:
        case ast.Expr(value=value):
            m.frame.dropped = value
            expressions.evaluate(m, value)
        case ast.Assign(targets=targets, value=value):
            result = expressions.evaluate(m, value)
            for target in targets:
                assign(m, target, result)
        case ast.AnnAssign(target=target, value=value):
            if value is not None:
                assign(m, target, expressions.evaluate(m, value))
        case ast.AugAssign():
            _augment(m, node)
        case ast.Return(value=value):
            result = NONE if value is None else expressions.evaluate(m, value)
            m.frame.returns.append((result, m.frame.guards))
            if m.recording:
                m.ledger.returns.append(Return(m.spot(node), result, m.frame.guards))
            m.frame.exits.append((m.heap.changes(m.frame.journal), m.frame.guards))
            return True
        case ast.Raise():
            return True
        case ast.Continue() | ast.Break():
            m.frame.breaks.append((dict(m.frame.names.local), m.frame.guards))
            return True
        case ast.If():
            return _if(m, node)
        case ast.For() | ast.AsyncFor():
            _for(m, node)
        case ast.While():
            _repeat(m, node.body, f"loop in row {node.lineno}")
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                held = expressions.evaluate(m, item.context_expr)
                if item.optional_vars is not None:
                    assign(m, item.optional_vars, held)
            return block(m, node.body)
        case ast.Try() | ast.TryStar():
            return _try(m, node)
        case ast.Match():
            return _match(m, node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            frame = m.frame
            qualname = f"{frame.function.qualname if frame.function else ''}.{node.name}"
            info = FunctionInfo(frame.file, node, qualname)
            made: Value = Closure(info, None, frame.names, owner=frame.owner)
            m.defined.append((Closure(info, None, frame.names, owner=frame.owner), frame))
            for decorator in reversed(node.decorator_list):
                made = expressions.decorated(m, decorator, made)
            frame.names.local[node.name] = made
        case ast.ClassDef():
            frame = m.frame
            cls = ClassInfo(frame.file, node, node.name)
            for part in node.body:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                    cls.methods[part.name] = FunctionInfo(frame.file, part, f"{node.name}.{part.name}", cls)
            cls.names = frame.names
            m.defined += [
                (Closure(info, None, frame.names, owner=cls), frame) for info in cls.methods.values()
            ]
            frame.names.local[node.name] = Klass(cls)
        case ast.Assert(test=test):
            assume(m, test, True)
        case ast.Import() | ast.ImportFrom():
            _import(m, node)
        case ast.Delete(targets=targets):
            for target in targets:
                if isinstance(target, ast.Name):
                    m.frame.names.local.pop(target.id, None)
                elif isinstance(target, ast.Subscript):
                    base = expressions.evaluate(m, target.value)
                    key = expressions.evaluate(m, target.slice)
                    expressions.read_entry(m, target, base, key, expressions.remove_item(m, base, key), "del")
        case _:
            pass
    return False


def _import(m: Machine, node: ast.Import | ast.ImportFrom) -> None:
    from lorascale_lint.linking.program import FileInfo, _import as collect

    frame = m.frame
    probe = FileInfo(frame.file.filename, frame.file.module, frame.file.tree, "", frame.file.is_package)
    collect(probe, node)
    for name, target in probe.imports.items():
        frame.names.local[name] = expressions.meaning(m, m.program.dotted(target), target)


def _last_row(node: ast.stmt) -> int:
    """The last row of a statement, or of the head of one that holds others."""
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list) and body:
        first = body[0]
        held = getattr(first, "pattern", None)
        row: int = getattr(first, "lineno", None) or getattr(held, "lineno", None) or node.lineno
        return max(node.lineno, row - 1)
    return node.end_lineno or node.lineno


# ---- assignment ---------------------------------------------------------------------------


def assign(m: Machine, target: ast.expr, value: Value) -> None:
    """Bind a name, unpack, or store into an attribute or an entry."""
    match target:
        case ast.Name(id=name):
            m.frame.names.local[name] = expressions.named(m, value, name)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            _unpack(m, parts, value)
        case ast.Starred(value=inner):
            assign(m, inner, value)
        case ast.Attribute(value=owner, attr=name):
            store_attribute(m, expressions.evaluate(m, owner), name, value, target)
        case ast.Subscript(value=owner, slice=key):
            if isinstance(key, ast.Slice):
                expressions.evaluate(m, owner)
                return
            expressions.store_item(
                m, expressions.evaluate(m, owner), expressions.evaluate(m, key), value, target
            )
        case _:
            pass


def _unpack(m: Machine, parts: list[ast.expr], value: Value) -> None:
    star = next((i for i, part in enumerate(parts) if isinstance(part, ast.Starred)), None)
    count = len(parts)
    if star is None:
        for index, part in enumerate(parts):
            assign(m, part, expressions.item_at(m, value, index))
        return
    held = m.elements(value)
    if held is None or held[1]:
        for part in parts:
            assign(m, part, UNKNOWN if not isinstance(part, ast.Starred) else m.new_list([], True))
        return
    items = held[0]
    tail = count - star - 1
    for index, part in enumerate(parts[:star]):
        assign(m, part, items[index] if index < len(items) else UNKNOWN)
    assign(m, parts[star], m.new_list(items[star : len(items) - tail]))
    for index, part in enumerate(parts[star + 1 :]):
        place = len(items) - tail + index
        assign(m, part, items[place] if 0 <= place < len(items) else UNKNOWN)


def _augment(m: Machine, node: ast.AugAssign) -> None:
    old = expressions.evaluate(m, _loaded(node.target))
    value = expressions.evaluate(m, node.value)
    held = m.elements(old)
    if isinstance(node.op, ast.Add) and isinstance(old, Ref) and old.kind == "list" and held is not None:
        more = m.elements(value)
        known = more is not None
        m.heap.write(
            old.key,
            "items",
            Items((*held[0], *(more[0] if more else ())), held[1] or not known or bool(more and more[1])),
        )
        return
    result = expressions.binary(m, node, node.op, old, value)
    if isinstance(node.op, ast.Mult | ast.Div) and m.initialising and number(value) is not None:
        return  # start values: what they are divided by is what training multiplies back
    assign(m, node.target, result)


def _loaded(target: ast.expr) -> ast.expr:
    match target:
        case ast.Name(id=name):
            return ast.copy_location(ast.Name(name, ast.Load()), target)
        case ast.Attribute(value=value, attr=attr):
            return ast.copy_location(ast.Attribute(value, attr, ast.Load()), target)
        case ast.Subscript(value=value, slice=key):
            return ast.copy_location(ast.Subscript(value, key, ast.Load()), target)
        case _:
            return target


# ---- branches -----------------------------------------------------------------------------


def _if(m: Machine, node: ast.If) -> bool:
    known = expressions.test(m, node.test)
    if known is not None:
        return block(m, node.body if known else node.orelse)
    frame = m.frame
    name = m.atom(node.test)
    guards, before = frame.guards, dict(frame.names.local)

    m.heap.begin()
    assume(m, node.test, True, name)
    inside = frame.guards[len(guards) :] if frame.guards[: len(guards)] == guards else ((name, True),)
    then_ends = block(m, node.body)
    after_then, made_then = frame.names.local, m.heap.undo()

    frame.guards, frame.names.local = guards, before
    m.heap.begin()
    assume(m, node.test, False, name)
    outside = frame.guards[len(guards) :] if frame.guards[: len(guards)] == guards else ((name, False),)
    else_ends = block(m, node.orelse)
    made_else = m.heap.undo()

    frame.guards = guards
    if then_ends and else_ends:
        return True
    if then_ends or else_ends:
        made, names, own = (
            (made_else, frame.names.local, outside) if then_ends else (made_then, after_then, inside)
        )
        m.heap.apply([(made, ())])
        frame.names.local = names
        frame.guards = (*guards, *own)
        return False
    m.heap.apply([(made_then, inside), (made_else, outside)])
    frame.names.local = _join_names([(after_then, inside), (frame.names.local, outside)])
    return False


def _join_names(ways: list[tuple[dict[str, Value], tuple[tuple[str, bool], ...]]]) -> dict[str, Value]:
    joined: dict[str, Value] = {}
    for name in dict.fromkeys(name for names, _ in ways for name in names):
        held = [(names[name], guards) for names, guards in ways if name in names]
        first = held[0][0]
        joined[name] = first if all(value is first for value, _ in held) else join(held)
    return joined


def assume(m: Machine, test: ast.expr, holds: bool, name: str = "") -> None:
    """Take a condition for granted: forget what contradicts it."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            assume(m, operand, not holds)
            return
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) == holds:
            for value in values:
                assume(m, value, holds)
            return
        case ast.NamedExpr(target=target):
            test = target
        case _:
            pass
    match test:
        case ast.Compare(left=left, ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None)]):
            m.assume(f"{m.atom(left)} is None", holds)
            _narrow(m, left, lambda value: (m.is_none(value) is True) == holds or m.is_none(value) is None)
        case ast.Compare(left=left, ops=[ast.IsNot() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            m.assume(f"{m.atom(left)} is None", not holds)
            _narrow(m, left, lambda value: (m.is_none(value) is True) != holds or m.is_none(value) is None)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) if holds:
            m.assume(m.atom(test), holds)
            _contains(m, left, expressions.evaluate(m, right))
        case ast.Compare(left=left, ops=[ast.In()], comparators=[right]):
            m.assume(m.atom(test), holds)
            if holds:
                _contains(m, right, expressions.evaluate(m, left))
        case ast.Compare(left=left, ops=[ast.NotIn()], comparators=[right]):
            m.assume(m.atom(ast.Compare(left, [ast.In()], [right])), not holds)
            if not holds:
                _contains(m, right, expressions.evaluate(m, left))
        case ast.Call(func=ast.Attribute(value=owner, attr="endswith" | "startswith"), args=[word]) if holds:
            m.assume(m.atom(test), holds)
            _contains(m, owner, expressions.evaluate(m, word))
        case ast.Call(func=ast.Name(id="isinstance"), args=[subject, kinds]):
            m.assume(m.atom(test), holds)
            if holds:
                _becomes(m, subject, kinds)
        case ast.Name() | ast.Attribute():
            m.assume(m.atom(test), holds)
            _narrow(m, test, lambda value: m.truth(value) in (None, holds))
        case _:
            m.assume(name or m.atom(test), holds)


def _narrow(m: Machine, node: ast.expr, keep: object) -> None:
    if not isinstance(node, ast.Name | ast.Attribute):
        return
    value = expressions.evaluate(m, node)
    if isinstance(value, Union):
        kept = [option for option in value.options if keep(option.value)]  # type: ignore[operator]
        if kept and len(kept) < len(value.options):
            small = kept[0].value if len(kept) == 1 else Union(tuple(kept))
            if isinstance(node, ast.Name):
                m.frame.names.local[node.id] = small
            else:
                owner = expressions.evaluate(m, node.value)
                if isinstance(owner, Ref) and owner.kind == "object":
                    m.heap.write(owner.key, node.attr, small)


def _contains(m: Machine, node: ast.expr, word: Value) -> None:
    """A text that is known to hold a word."""
    if not isinstance(node, ast.Name):
        return
    value = m.frame.names.find(node.id)
    if isinstance(value, Place) and value.role is None:
        value = hole(value.path)
    if isinstance(word, Tup) and len(word.items) == 1:
        word = word.items[0]
    if isinstance(value, Text) and isinstance(word, Text) and word.literal:
        m.frame.names.local[node.id] = keys.with_word(value, word.literal)
        holes = [part for part in value.parts if isinstance(part, Hole)]
        for part in holes[:1]:
            for name in {part.name, part.root or part.name}:
                known = m.heap.read(("text", name), "has") or frozenset()
                m.heap.write(("text", name), "has", known | {word.literal})


def _becomes(m: Machine, subject: ast.expr, kinds: ast.expr) -> None:
    """``isinstance(x, SomeLayer)``: from here on ``x`` is one, whatever is stored in it."""
    if not isinstance(subject, ast.Name):
        return
    value = m.frame.names.find(subject.id)
    if not isinstance(value, Place | Element):
        return
    meant = expressions.evaluate(m, kinds)
    classes = [
        item.info for item in (meant.items if isinstance(meant, Tup) else (meant,)) if isinstance(item, Klass)
    ]
    made = [(instance(m, cls), ((f"is {cls.qualname}", True),)) for cls in classes[:4]]
    if made:
        m.frame.names.local[subject.id] = made[0][0] if len(made) == 1 else join(list(made))


# ---- loops --------------------------------------------------------------------------------


def _for(m: Machine, node: ast.For | ast.AsyncFor) -> None:
    source = expressions.evaluate(m, node.iter)
    held = m.elements(source)
    if held is not None and not held[1] and len(held[0]) <= UNROLL_LIMIT:
        for item in held[0]:
            frame = m.frame
            guards = frame.guards
            breaks, frame.breaks = frame.breaks, []
            before = dict(frame.names.local)
            assign(m, node.target, item)
            ended = block(m, node.body)
            _rejoin(m, before if ended and not frame.breaks else None, ended)
            frame.breaks = breaks
            frame.guards = guards
        block(m, node.orelse)
        return
    if held is not None and not held[0] and not held[1]:
        return
    element = expressions.element_of(m, source)
    _repeat(m, node.body, f"loop in row {node.lineno}", node.target, element)
    block(m, node.orelse)


def _rejoin(m: Machine, instead: dict[str, Value] | None, ended: bool) -> None:
    """Join what names were where ``continue`` and ``break`` left the body."""
    frame = m.frame
    ways: list[tuple[dict[str, Value], Guards]] = [] if ended else [(frame.names.local, ())]
    ways += [(names, guards[-2:]) for names, guards in frame.breaks]
    if ways:
        frame.names.local = _join_names(ways)
    elif instead is not None:
        frame.names.local = instead


def _repeat(
    m: Machine, body: list[ast.stmt], name: str, target: ast.expr | None = None, element: Value | None = None
) -> None:
    frame = m.frame
    guards, before = frame.guards, dict(frame.names.local)
    breaks, frame.breaks = frame.breaks, []
    m.heap.begin()
    if target is not None and element is not None:
        assign(m, target, element)
    m.assume(name, True)
    ended = block(m, body)
    _rejoin(m, before, ended)
    frame.breaks = breaks
    after = frame.names.local
    for cell, value in m.heap.changes().items():  # what one round appends, others append too
        if isinstance(value, Items) and not value.open:
            m.heap.write(*cell, Items(value.values, True))
    m.heap.keep()
    frame.guards = guards
    frame.names.local = _join_names([(after, ((name, True),)), (before, ((name, False),))])


def _try(m: Machine, node: ast.Try | ast.TryStar) -> bool:
    frame = m.frame
    guards, before = frame.guards, dict(frame.names.local)
    m.heap.begin()
    ended = block(m, node.body) or block(m, node.orelse)
    ways = [] if ended else [(frame.names.local, ())]
    made = [] if ended else [(m.heap.changes(), ())]
    m.heap.undo()
    for index, handler in enumerate(node.handlers):
        frame.guards, frame.names.local = guards, dict(before)
        name = f"exception {index} in row {node.lineno}"
        m.heap.begin()
        m.assume(name, True)
        if not block(m, handler.body):
            ways.append((frame.names.local, ((name, True),)))  # type: ignore[arg-type]
            made.append((m.heap.changes(), ((name, True),)))  # type: ignore[arg-type]
        m.heap.undo()
    frame.guards = guards
    if ways:
        m.heap.apply(made)  # type: ignore[arg-type]
        frame.names.local = _join_names(ways)  # type: ignore[arg-type]
    return block(m, node.finalbody) or not ways


def _match(m: Machine, node: ast.Match) -> bool:
    subject = expressions.evaluate(m, node.subject)
    frame = m.frame
    guards, before = frame.guards, dict(frame.names.local)
    ways, made = [], []
    complete = False
    for index, case in enumerate(node.cases):
        frame.guards, frame.names.local = guards, dict(before)
        name = f"case {index} in row {node.lineno}"
        known = expressions.pattern(m, case.pattern, subject)
        if known is False:
            continue
        m.heap.begin()
        if known is None or case.guard is not None:
            m.assume(name, True)
        if not block(m, case.body):
            ways.append((frame.names.local, ((name, True),)))
            made.append((m.heap.changes(), ((name, True),)))
        m.heap.undo()
        if known is True and case.guard is None:
            complete = True
            break
    frame.guards = guards
    if not complete:
        ways.append((before, ()))  # type: ignore[arg-type]
        made.append(({}, ()))  # type: ignore[arg-type]
    if not ways:
        return True
    m.heap.apply(made)  # type: ignore[arg-type]
    frame.names.local = _join_names(ways)  # type: ignore[arg-type]
    return False


__all__ = ["ABSENT", "Const", "Fraction", "Scale", "assign", "assume", "block", "each", "run", "scaled"]
