"""Expressions: what each of them computes here."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from lorascale_lint.bounds import DISPLAY_LIMIT, HELD_LIMIT, INDEX_LIMIT, KEPT_STATEMENTS
from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.members import HELD_BY_LAYERS
from lorascale_lint.knowledge.roles import DELTA, key_role
from lorascale_lint.knowledge.speech import speaks_of_scales
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.arithmetic import binary, operand
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.calls import evaluate_call
from lorascale_lint.provenance.comprehensions import comprehension
from lorascale_lint.provenance.conditions import assume, test
from lorascale_lint.provenance.containers import item_of, spread
from lorascale_lint.provenance.heap import Entries
from lorascale_lint.provenance.lookups import (
    as_text,
    join_one,
    lacks,
    learned,
    read_entry,
    read_part,
    took_all,
    wrote,
)
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.meanings import joined
from lorascale_lint.provenance.names import attribute, global_value
from lorascale_lint.provenance.numbers import asked
from lorascale_lint.provenance.scale import TOO_LARGE, Scale, exactly
from lorascale_lint.provenance.sequences import new_set
from lorascale_lint.provenance.shapes import tensor_item
from lorascale_lint.provenance.tensors import multiply, number
from lorascale_lint.provenance.tuples import packed
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Const,
    Hole,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    combine,
    each,
    join,
    one_of,
    options,
    some_of,
)


def evaluate(m: Machine, node: ast.expr) -> Value:
    """The value of an expression, where the conditions of this path hold."""
    m.steps += 1  # as `Machine.tick`, for this is run a million times in a project
    if m.steps > m.limit:
        raise OutOfSteps
    handler = _HANDLERS.get(type(node))
    if handler is None:
        return UNKNOWN
    value = handler(m, node)
    if isinstance(value, Union):
        value = m.seen(value)
        for option in value.options if isinstance(value, Union) else ():
            if _asks_its_key(option.value):
                value = each(value, lambda one: _by_key(m, one) if _asks_its_key(one) else one)
                break
    if isinstance(value, Place) and _asks_its_key(value):
        value = _by_key(m, value)
    if m.watched is not None and m.watched == (m.frame.file.filename, node.lineno):
        m.sights.append((ast.unparse(node), value, m.frame.chain))
    return value


def _asks_its_key(value: Value) -> bool:
    return isinstance(value, Place) and value.under is not None and value.role in (None, DELTA)


def _by_key(m: Machine, value: Place) -> Place:
    """The value with the role that its key has, by what has been found out about the key since."""
    words = m.heap.read(("text", value.under), "has") or ()
    known = (key_role(word) or learned(m, value.path, word) for word in words)
    roles = {role for role in known if role is not None}
    return replace(value, role=roles.pop()) if len(roles) == 1 else value


def _name(m: Machine, node: ast.Name) -> Value:
    frame = m.stack[-1]
    found = frame.names.find(node.id)
    return global_value(m, frame.file, node.id) if found is None else found


def _attribute(m: Machine, node: ast.Attribute) -> Value:
    owner = operand(evaluate(m, node.value))
    if node.attr in HELD_BY_LAYERS:
        kept = some_of(owner, _is_no_list)
        owner = one_of(kept) if kept else owner
    found = each(owner, lambda value: attribute(m, value, node.attr))
    read_part(m, node, owner, node.attr, found)
    m.read_field(node, owner, node.attr, found)
    return found


def _is_no_list(value: Value) -> bool:
    return not isinstance(value, Ref) or value.kind == "object"


def _constant(m: Machine, node: ast.Constant) -> Value:
    match node.value:
        case bool() | None:
            return Const(node.value)
        case str() as text:
            return Text((text,)) if text else Text(())
        case int() | float() as number:
            scale = _exact(number)
            if scale is None:
                return Number(Scale(powers=((TOO_LARGE, Fraction(1)),)))
            return Number(scale, spot=m.spot(node) if m.stack else None)
        case _:
            return Const(Ellipsis)


_exact = lru_cache(maxsize=KEPT_STATEMENTS, typed=True)(exactly)


def _joined(m: Machine, node: ast.JoinedStr) -> Value:
    parts: list[str | Hole] = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            parts.extend(as_text(m, evaluate(m, part.value)).parts)
    return keys.text_of(parts)


def _sequence(m: Machine, node: ast.Tuple | ast.List | ast.Set) -> Value:
    values: list[Value] = []
    open_ = False
    for part in node.elts[:DISPLAY_LIMIT]:
        if isinstance(part, ast.Starred):
            held, more = spread(m, evaluate(m, part.value))
            values += held
            open_ |= more
        else:
            values.append(evaluate(m, part))
    open_ = open_ or len(node.elts) > DISPLAY_LIMIT or len(values) > HELD_LIMIT
    if isinstance(node, ast.Tuple) and not open_:
        return packed(values)
    return new_set(m, values, open_) if isinstance(node, ast.Set) else m.new_list(values, open_)


def _dict(m: Machine, node: ast.Dict) -> Value:
    pairs: list[tuple[Value, Value]] = []
    pairs_by_node: dict[int, tuple[Value, Value]] = {}
    spreads: list[Value] = []
    open_ = len(node.keys) > DISPLAY_LIMIT
    items = list(zip(node.keys, node.values, strict=True))[:DISPLAY_LIMIT]
    for key, item in items:
        value = evaluate(m, item)
        if key is not None:
            pairs_by_node[id(item)] = (evaluate(m, key), value)
            pairs.append(pairs_by_node[id(item)])
            continue
        spreads.append(value)
        if isinstance(value, Ref) and isinstance(entries := m.heap.read(value.key, "entries"), Entries):
            pairs += entries.pairs
            open_ |= entries.open
        else:
            open_ = True
    made = m.new_dict(pairs, open_)
    for key, item in items:
        if key is not None:
            wrote(m, item, made, *pairs_by_node[id(item)])
    for source in spreads:
        took_all(m, node, made, source)
    return made


def _binary(m: Machine, node: ast.BinOp) -> Value:
    return binary(m, node, node.op, evaluate(m, node.left), evaluate(m, node.right))


def _unary(m: Machine, node: ast.UnaryOp) -> Value:
    value = evaluate(m, node.operand)
    match node.op:
        case ast.USub():
            return each(value, lambda v: multiply(v, Number(Scale(Fraction(-1)))))
        case ast.Not():
            known = m.truth(value)
            return UNKNOWN if known is None else Const(not known)
        case _:
            return value


def _logic(m: Machine, node: ast.BoolOp) -> Value:
    """``a or b``: the first that decides, else either, under the truth of the first."""
    if len(node.values) > DISPLAY_LIMIT:
        return UNKNOWN
    wanted = isinstance(node.op, ast.Or)
    ways: list[tuple[Value, tuple[tuple[str, bool], ...]]] = []
    guards: tuple[tuple[str, bool], ...] = ()
    outer = m.frame.guards
    for index, part in enumerate(node.values):
        value = evaluate(m, part)
        m.frame.guards = outer  # what it takes for granted holds only if it was evaluated
        last = index == len(node.values) - 1
        kept = []
        passes = False
        if not last and not isinstance(part, ast.Compare | ast.BoolOp | ast.UnaryOp):
            asked(m, part, "truth", value)
        for option in value.options if isinstance(value, Union) else join_one(value):
            known = m.truth(option.value)
            if last or known is None or known == wanted:
                kept.append((option.value, option.guards, known))
            if not last and (known is None or known != wanted):
                passes = True
        atom = m.atom(part)
        for item, own, known in kept:
            extra = () if last or known is not None else ((atom, wanted),)
            ways.append((item, (*guards, *own, *extra)))
        if not passes and not last:
            break
        guards = (*guards, (atom, not wanted))
    return joined(ways) if ways else UNKNOWN


def _compare(m: Machine, node: ast.Compare) -> Value:
    known = test(m, node)
    if known is None:
        for part in (node.left, *node.comparators):
            if any(
                isinstance(o.value, Tensor) and o.value.kind == "mask" for o in options(evaluate(m, part))
            ):
                return Tensor("mask")
    return UNKNOWN if known is None else Const(known)


def _choice(m: Machine, node: ast.IfExp) -> Value:
    known = test(m, node.test)
    if known is not None:
        return evaluate(m, node.body if known else node.orelse)
    frame = m.frame
    guards, names = frame.guards, frame.names.local
    ways, made = [], []
    for holds, branch in ((True, node.body), (False, node.orelse)):
        frame.names.local = dict(names)
        m.heap.begin()
        assume(m, node.test, holds, m.atom(node.test))
        own = frame.guards[len(guards) :]
        ways.append((evaluate(m, branch), own))
        made.append((m.heap.undo(), own))
        frame.guards = guards
    frame.names.local = names
    m.heap.apply(made)
    return joined(ways)


def _subscript(m: Machine, node: ast.Subscript) -> Value:
    base = operand(evaluate(m, node.value))
    if isinstance(node.slice, ast.Slice):
        return each(base, lambda value: _slice(m, value, node.slice))
    key = operand(evaluate(m, node.slice))
    if isinstance(base, Union):  # of several dictionaries, those that have the key
        kept = [option for option in base.options if not lacks(m, option.value, key)]
        base = join([(option.value, option.guards) for option in kept]) if kept else base
    if isinstance(base, Place) and isinstance(key, Union) and len(key.options) > INDEX_LIMIT:
        key = key if any(isinstance(option.value, Text) for option in key.options) else UNKNOWN
    found = combine(base, key, lambda value, at: item_of(m, value, at))
    read_entry(m, node, base, key, found, "item")
    return found


def _slice(m: Machine, value: Value, node: ast.Slice) -> Value:
    low = None if node.lower is None else evaluate(m, node.lower)
    high = None if node.upper is None else evaluate(m, node.upper)
    bounds = [
        None if v is None else n.scale.constant if (n := number(v)) is not None else "?" for v in (low, high)
    ]
    step = None if node.step is None else number(evaluate(m, node.step))
    every = 1 if node.step is None else None if step is None else step.scale.constant
    match value:
        case Tup() | Ref(kind="list"):
            held = m.elements(value)
            if held is not None and not held[1] and "?" not in bounds and every:
                low_, high_, every_ = (None if b is None else int(b) for b in (*bounds, every))
                cut = held[0][low_:high_:every_]
                return Tup(tuple(cut)) if isinstance(value, Tup) else m.new_list(cut)
            return value
        case Text() if every != 1:
            return keys.derived(value, "slice", str(every))
        case Text():
            return _cut(value, node, bounds, m)
        case Tensor() | Place():
            return tensor_item(m, value, UNKNOWN) if isinstance(value, Tensor) else value
        case _:
            return UNKNOWN


def _cut(value: Text, node: ast.Slice, bounds: list[Any], m: Machine) -> Text:
    if value.literal is not None and "?" not in bounds:
        return Text((value.literal[slice(*(None if b is None else int(b) for b in bounds))],))
    for bound, cutter in ((node.upper, keys.without_end), (node.lower, keys.without_start)):
        match bound:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Call(func=ast.Name(id="len"), args=[word])):
                word_value = evaluate(m, word)
            case ast.Call(func=ast.Name(id="len"), args=[word]):
                word_value = evaluate(m, word)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as size)) if bound is node.upper:
                last = value.parts[-1] if value.parts else ""
                if isinstance(last, str) and len(last) >= size:
                    return keys.text_of([*value.parts[:-1], last[:-size]])
                return keys.derived(value, "cut", size)
            case _:
                continue
        if isinstance(word_value, Text) and word_value.literal is not None:
            return cutter(value, word_value.literal)
    return keys.derived(value, "slice", str(bounds))


def _lambda(m: Machine, node: ast.Lambda) -> Value:
    frame = m.frame
    info = FunctionInfo(frame.file, node, f"{frame.function.qualname if frame.function else ''}.<lambda>")
    made = Closure(info, None, frame.names, owner=frame.owner)
    if m.recording and speaks_of_scales(frame.file.text(node)):  # a hook is called out of sight
        m.defined.append((made, frame, frame.guards))
    return made


def _walrus(m: Machine, node: ast.NamedExpr) -> Value:
    value = evaluate(m, node.value)
    assign(m, node.target, value)
    return evaluate(m, ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))


def _yield(m: Machine, node: ast.Yield) -> Value:
    value = NONE if node.value is None else evaluate(m, node.value)
    m.frame.yields.append(value)
    return UNKNOWN


def _yield_from(m: Machine, node: ast.YieldFrom) -> Value:
    held = m.elements(evaluate(m, node.value))
    m.frame.yields += held[0] if held is not None else []
    return UNKNOWN


def _call(m: Machine, node: ast.Call) -> Value:
    return evaluate_call(m, node)


_HANDLERS: dict[type[ast.expr], Callable[[Machine, Any], Value]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Constant: _constant,
    ast.JoinedStr: _joined,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Set: _sequence,
    ast.Dict: _dict,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _logic,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.ListComp: comprehension,
    ast.SetComp: comprehension,
    ast.GeneratorExp: comprehension,
    ast.DictComp: comprehension,
    ast.Lambda: _lambda,
    ast.NamedExpr: _walrus,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
    ast.Await: lambda m, node: evaluate(m, node.value),
    ast.Starred: lambda m, node: evaluate(m, node.value),
}
