"""Expressions: what each of them computes here."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from lorascale_lint.knowledge.interfaces import DECIDES_SCALE
from lorascale_lint.knowledge.roles import NUMBERS, key_role, role_of
from lorascale_lint.ledger.entries import Ask, KeyRead, KeyWrite
from lorascale_lint.linking.program import ClassInfo, FileInfo, FunctionInfo, dotted
from lorascale_lint.provenance import calls, keys, library, objects, tensors
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Const,
    Element,
    Hole,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    combine,
    contradict,
    each,
    join,
    options,
)


def evaluate(m: Machine, node: ast.expr) -> Value:
    """The value of an expression, where the conditions of this path hold."""
    m.tick()
    handler = _HANDLERS.get(type(node))
    if handler is None:
        return UNKNOWN
    value = m.seen(handler(m, node))
    if isinstance(value, Place) and value.role is None and value.under is not None:
        value = _by_key(m, value)
    if m.watched is not None and m.watched == (m.frame.file.filename, node.lineno):
        m.sights.append((ast.unparse(node), value, m.frame.chain))
    return value


def _by_key(m: Machine, value: Place) -> Place:
    """The value with the role that its key has, by what has been found out about the key since."""
    words = m.heap.read(("text", value.under), "has") or ()
    roles = {role for word in words if (role := key_role(word)) is not None}
    return replace(value, role=roles.pop()) if len(roles) == 1 else value


def meaning(m: Machine, found: Any, name: str = "") -> Value:
    """What the linker found, as a value."""
    match found:
        case FunctionInfo():
            made: Value = Closure(found)
            for decorator in reversed(getattr(found.node, "decorator_list", [])):
                made = decorated(m, decorator, made)
            return made
        case ClassInfo():
            return Klass(found)
        case FileInfo():
            return Library(f"file::{found.filename}")
        case str() if "::" in found:
            filename, _, binding = found.partition("::")
            file = m.program.file(filename)
            return UNKNOWN if file is None else global_value(m, file, binding)
        case str():
            return Library(found)
        case _:
            return Library(name) if name else UNKNOWN


def named(m: Machine, value: Value, name: str) -> Value:
    """``value`` under a new name: one that nobody knows anything of may get its role from it."""
    value = rank_for_alpha(m, value, name)
    if isinstance(value, Place) and value.role is None and value.path != name:
        role = role_of(name, m.frame.lora)
        if role is not None and role != "base":
            return Place(value.path, role, True, made=value.made)
    if isinstance(value, Tensor) and value.kind in ("fresh", "data") and not value.origin:
        return Tensor(**{**_fields(value), "origin": name})
    if isinstance(value, Tensor) and value.kind == "data" and value.module is False:
        role = role_of(name, False)
        if role in ("A", "B"):
            return Tensor(role, origin=name)
    return value


def rank_for_alpha(m: Machine, value: Value, name: str) -> Value:
    """A rank that stands in for a missing alpha is that alpha (kohya's rule)."""
    if not isinstance(value, Union | Number | Place) or role_of(name, m.frame.lora) != "alpha":
        return value
    if not isinstance(value, Union) and getattr(value, "role", None) != "rank":
        return value
    return each(value, lambda one: _as_alpha(one))


def _as_alpha(value: Value) -> Value:
    known = tensors.number(value)
    if known is not None and known.scale.by_role() == Scale.of("rank"):
        return Number(Scale.of("alpha", "the rank, where there is no alpha"))
    return value


def _fields(value: Tensor) -> dict[str, Any]:
    return {slot: getattr(value, slot) for slot in Tensor.__slots__}


# ---- names --------------------------------------------------------------------------------


def _name(m: Machine, node: ast.Name) -> Value:
    found = m.frame.names.find(node.id)
    if found is not None:
        return found
    return global_value(m, m.frame.file, node.id)


def global_value(m: Machine, file: FileInfo, name: str) -> Value:
    """A name of a module's top level, evaluated when it is first asked for."""
    key = (file.filename, name)
    if key in m.modules:
        return m.modules[key]
    found = m.program.lookup(file, name)
    if isinstance(found, FunctionInfo | ClassInfo) or (found is not None and name not in file.bindings):
        m.modules[key] = made = meaning(m, found, file.imports.get(name, ""))
        return made
    if name in file.bindings:
        m.modules[key] = Place(name)
        m.modules[key] = made = calls.run_bindings(m, file, name)
        if isinstance(made, Ref) and made.kind != "object":
            calls.fill(m, file, name)
        return made
    return Library(f"builtins.{name}")


def _attribute(m: Machine, node: ast.Attribute) -> Value:
    owner = evaluate(m, node.value)
    found = each(owner, lambda value: attribute(m, value, node.attr))
    if node.attr in DECIDES_SCALE:
        read_entry(m, node, owner, Text((node.attr,)), found, "attribute")
    return found


def attribute(m: Machine, value: Value, name: str) -> Value:
    """``value.name``."""
    match value:
        case Ref(kind="object"):
            return objects.load_attribute(m, value, name)
        case Klass(info=cls):
            return objects.class_attribute(m, cls, name, value)
        case Library(name=dotted_name) if dotted_name.startswith("file::"):
            file = m.program.file(dotted_name.removeprefix("file::"))
            if file is None:
                return UNKNOWN
            if name in file.bindings or m.program.lookup(file, name) is not None:
                return global_value(m, file, name)
            inner = m.program.module_file(f"{file.module}.{name}")
            return (
                Library(f"file::{inner.filename}") if inner is not None else Library(f"{file.module}.{name}")
            )
        case Library(name=dotted_name):
            return meaning(m, m.program.dotted(f"{dotted_name}.{name}"), f"{dotted_name}.{name}")
        case Tensor():
            return library.tensor_attribute(m, value, name)
        case Partial(callee=callee) if name == "func":
            return callee
        case Place():
            stored = m.heap.read(("place", value.path), name)
            if stored is not None:
                return stored  # type: ignore[no-any-return]
            return _of_place(m, value, name)
        case Const(value=None):
            return UNKNOWN
        case Element(source=source):
            return attribute(m, Place(f"{_path(source)}[*]"), name)
        case Ref() | Text() | Tup() | Number():
            return Method(value, name)
        case _:
            return Method(value, name)


def _of_place(m: Machine, value: Place, name: str) -> Value:
    known = tensors.tensor(value)
    if known is not None and known.kind in ("A", "B") and name in library.TENSOR_ATTRIBUTES:
        return library.tensor_attribute(m, known, name)
    if name in ("shape", "ndim", "dtype", "device"):
        return Method(value, name)
    made = m.place(name, value)
    if made.role is None and value.role in ("A", "B") and name in ("weight", "data", "T"):
        made = Place(made.path, value.role, value.weak)
    return made


def _path(value: Value) -> str:
    return value.path if isinstance(value, Place) else "?"


# ---- literals -----------------------------------------------------------------------------


def _constant(m: Machine, node: ast.Constant) -> Value:
    match node.value:
        case bool() | None:
            return Const(node.value)
        case str() as text:
            return Text((text,)) if text else Text(())
        case int() | float() as number:
            try:
                return Number(Scale(Fraction(str(number)) if isinstance(number, float) else Fraction(number)))
            except (ValueError, OverflowError):
                return Number(Scale.of("", str(number)))
        case _:
            return Const(Ellipsis)


def _joined(m: Machine, node: ast.JoinedStr) -> Value:
    parts: list[str | Hole] = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            parts.extend(as_text(m, evaluate(m, part.value)).parts)
    return keys.text_of(parts)


def as_text(m: Machine, value: Value) -> Text:
    """``str(value)``."""
    match value:
        case Text():
            return value
        case Number(scale=scale) if scale.constant is not None:
            shown = scale.constant
            return Text((str(int(shown)) if shown.denominator == 1 else str(float(shown)),))
        case Const():
            return Text((str(value.value),))
        case Union(options=found):
            texts = {as_text(m, option.value) for option in found}
            return (
                texts.pop() if len(texts) == 1 else Text((Hole(("one of", tuple(sorted(map(str, texts))))),))
            )
        case Place(path=path):
            return hole(path)
        case _:
            return hole(value)


def _sequence(m: Machine, node: ast.Tuple | ast.List | ast.Set) -> Value:
    values: list[Value] = []
    open_ = False
    for part in node.elts:
        if isinstance(part, ast.Starred):
            held = m.elements(evaluate(m, part.value))
            values += held[0] if held is not None else []
            open_ |= held is None or held[1]
        else:
            values.append(evaluate(m, part))
    if isinstance(node, ast.Tuple) and not open_:
        return Tup(tuple(values))
    return m.new_list(values, open_)


def _dict(m: Machine, node: ast.Dict) -> Value:
    pairs: list[tuple[Value, Value]] = []
    pairs_by_node: dict[int, tuple[Value, Value]] = {}
    open_ = False
    for key, item in zip(node.keys, node.values, strict=True):
        value = evaluate(m, item)
        if key is not None:
            pairs_by_node[id(item)] = (evaluate(m, key), value)
            pairs.append(pairs_by_node[id(item)])
        elif isinstance(value, Ref) and isinstance(entries := m.heap.read(value.key, "entries"), Entries):
            pairs += entries.pairs
            open_ |= entries.open
        else:
            open_ = True
    made = m.new_dict(pairs, open_)
    for key, item in zip(node.keys, node.values, strict=True):
        if key is not None:
            wrote(m, item, made, *pairs_by_node[id(item)])
    return made


def wrote(m: Machine, node: ast.AST, container: Value, key: Value, value: Value) -> None:
    """Writes an entry that a display, a comprehension or ``update`` makes into the ledger."""
    if m.recording:
        m.ledger.writes.append(KeyWrite(m.spot(node), container, key, value, m.frame.guards))


# ---- operators ----------------------------------------------------------------------------


def _binary(m: Machine, node: ast.BinOp) -> Value:
    return binary(m, node, node.op, evaluate(m, node.left), evaluate(m, node.right))


def binary(m: Machine, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
    """``left op right``."""
    left, right = operand(left), operand(right)
    match op:
        case ast.MatMult():
            return m.made_product(node, combine(left, right, tensors.product))
        case ast.Mult():
            made = combine(left, right, lambda a, b: times(m, node, a, b))
            m.folded(node, made)
            return made
        case ast.Div() if isinstance(right, Text) or (isinstance(left, Text) and isinstance(right, Place)):
            return hole(f"{_path(left)}/{_shown(right)}")  # a path, and no quotient
        case ast.Div() | ast.FloorDiv():
            floor = isinstance(op, ast.FloorDiv)
            made = combine(left, right, lambda a, b: tensors.divide(a, b, floor))
            m.folded(node, made)
            return made
        case ast.Add():
            return combine_sum(m, node, left, right, 1)
        case ast.Sub():
            return combine_sum(m, node, left, right, -1)
        case ast.Pow():
            return combine(left, right, tensors.power)
        case ast.Mod() if isinstance(left, Text):
            return _percent(m, left, right)
        case ast.BitOr() if isinstance(left, Ref) and left.kind == "dict":
            entries, more = m.heap.read(left.key, "entries"), None
            if isinstance(right, Ref):
                more = m.heap.read(right.key, "entries")
            pairs = [*entries.pairs, *(more.pairs if isinstance(more, Entries) else ())]
            return m.new_dict(pairs, True)
        case _:
            return UNKNOWN


def operand(value: Value) -> Value:
    """``value`` where it takes part in arithmetic: None and what is absent would have raised."""
    if isinstance(value, Union):
        kept = tuple(option for option in value.options if option.value not in (NONE, ABSENT))
        if kept and len(kept) < len(value.options):
            return kept[0].value if len(kept) == 1 else Union(kept)
    return value


def times(m: Machine, node: ast.AST, left: Value, right: Value) -> Value:
    """``left * right``, also of a list and a number."""
    for many, count in ((left, right), (right, left)):
        held = m.elements(many) if isinstance(many, Ref | Tup) else None
        if held is not None:
            known = tensors.number(count)
            if known is not None and known.scale.constant is not None and known.scale.constant <= 8:
                return m.new_list(held[0] * int(known.scale.constant), held[1])
            return m.new_list(held[0], True)
    m.rescaled(node, left, right)
    return tensors.multiply(left, right)


def combine_sum(m: Machine, node: ast.AST, left: Value, right: Value, sign: int) -> Value:
    """``left + right`` of tensors, numbers, texts or lists; an application where a delta meets its base."""

    def plus(one: Value, two: Value) -> Value:
        if isinstance(one, Text) or isinstance(two, Text):
            if sign > 0 and (isinstance(one, Text | Place) and isinstance(two, Text | Place)):
                return keys.text_of([*as_text(m, one).parts, *as_text(m, two).parts])
            return UNKNOWN
        a, b = m.elements(one), m.elements(two)
        if a is not None and b is not None:
            both = [*a[0], *b[0]]
            if isinstance(one, Tup) and isinstance(two, Tup):
                return Tup(tuple(both))
            return m.new_list(both, a[1] or b[1])
        m.summed(node, one, two)
        return tensors.add(one, two, sign, m.report(node))

    if not isinstance(left, Union) and not isinstance(right, Union):
        return plus(left, right)
    pairs = []
    for one in left.options if isinstance(left, Union) else join_one(left):
        for two in right.options if isinstance(right, Union) else join_one(right):
            if contradict(one.guards, two.guards):
                continue
            guards = tuple(dict.fromkeys((*one.guards, *two.guards)))
            frame = m.frame
            outer, frame.guards = frame.guards, (*frame.guards, *guards)
            pairs.append((plus(one.value, two.value), guards))
            frame.guards = outer
    return join(pairs) if pairs else UNKNOWN


def join_one(value: Value) -> tuple[Any, ...]:
    """``value`` as its only alternative."""
    from lorascale_lint.provenance.values import Alternative

    return (Alternative(value),)


def _percent(m: Machine, left: Text, right: Value) -> Value:
    items = list(right.items) if isinstance(right, Tup) else [right]
    parts: list[str | Hole] = []
    for part in left.parts:
        if not isinstance(part, str):
            parts.append(part)
            continue
        pieces = part.replace("%d", "%s").split("%s")
        for index, piece in enumerate(pieces):
            parts.append(piece)
            if index < len(pieces) - 1:
                parts.extend(as_text(m, items.pop(0)).parts if items else [Hole("%")])
    return keys.text_of(parts)


def _unary(m: Machine, node: ast.UnaryOp) -> Value:
    value = evaluate(m, node.operand)
    match node.op:
        case ast.USub():
            return each(value, lambda v: tensors.multiply(v, Number(Scale(Fraction(-1)))))
        case ast.Not():
            known = m.truth(value)
            return UNKNOWN if known is None else Const(not known)
        case _:
            return value


def _logic(m: Machine, node: ast.BoolOp) -> Value:
    """``a or b``: the first that decides, else either, under the truth of the first."""
    wanted = isinstance(node.op, ast.Or)
    ways: list[tuple[Value, tuple[tuple[str, bool], ...]]] = []
    guards: tuple[tuple[str, bool], ...] = ()
    for index, part in enumerate(node.values):
        value = evaluate(m, part)
        last = index == len(node.values) - 1
        kept = []
        passes = False
        if not last:
            _asked(m, part)
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
    return join(ways) if ways else UNKNOWN


def _compare(m: Machine, node: ast.Compare) -> Value:
    known = test(m, node)
    if known is None:
        for part in (node.left, *node.comparators):
            if any(
                isinstance(o.value, Tensor) and o.value.kind == "mask" for o in options(evaluate(m, part))
            ):
                return Tensor("mask")
    return UNKNOWN if known is None else Const(known)


def test(m: Machine, node: ast.expr) -> bool | None:
    """Is the condition true here? None if that is not known."""
    _asked(m, node)
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            known = test(m, operand)
            return None if known is None else not known
        case ast.BoolOp(op=op, values=values):
            wanted = isinstance(op, ast.Or)
            results = [test(m, value) for value in values]
            if wanted in results:
                return wanted
            return None if None in results else not wanted
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            assumed = _assumed(m, node)
            if assumed is not None:
                return assumed
            return _comparison(m, op, evaluate(m, left), evaluate(m, right))
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id="TYPE_CHECKING"):
            return False
        case _:
            assumed = _assumed(m, node)
            return m.truth(evaluate(m, node)) if assumed is None else assumed


def _asked(m: Machine, node: ast.expr) -> None:
    """Writes down that a number of LoRA code is tested."""
    if not m.recording:
        return
    how, subject, other = "truth", node, None
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            subject, other = left, right
            how = "none" if isinstance(right, ast.Constant) and right.value is None else type(op).__name__
        case ast.Name() | ast.Attribute() | ast.Subscript():
            pass
        case _:
            return
    if how in ("In", "NotIn"):
        key = evaluate(m, subject)
        container = evaluate(m, other) if other is not None else UNKNOWN
        if isinstance(key, Text | Place):
            m.ledger.reads.append(KeyRead(m.spot(node), container, key, UNKNOWN, "in", m.frame.guards))
        return
    value = evaluate(m, subject)
    if any(tensors.number(option.value) is not None for option in options(value)):
        against = None if other is None else evaluate(m, other)
        m.ledger.asks.append(Ask(m.spot(node), value, how, against, m.frame.guards))


def _assumed(m: Machine, node: ast.expr) -> bool | None:
    guards = m.frame.guards
    if not guards:
        return None
    name, holds = m.atom(node), True
    match node:
        case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)]):
            name = f"{m.atom(left)} is None"
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            name, holds = f"{m.atom(left)} is None", False
        case ast.Call():
            return None
        case _:
            pass
    for atom, value in reversed(guards):
        if atom == name:
            return value == holds
    return None


def _comparison(m: Machine, op: ast.cmpop, left: Value, right: Value) -> bool | None:
    match op:
        case ast.Is() | ast.IsNot() if right == NONE:
            known = m.is_none(left)
            return None if known is None else known == isinstance(op, ast.Is)
        case ast.Eq() | ast.NotEq():
            same = _same(m, left, right)
            return None if same is None else same == isinstance(op, ast.Eq)
        case ast.In() | ast.NotIn():
            inside = _inside(m, left, right)
            return None if inside is None else inside == isinstance(op, ast.In)
        case ast.Lt() | ast.Gt() | ast.LtE() | ast.GtE():
            a, b = tensors.number(left), tensors.number(right)
            if a is None or b is None or a.scale.constant is None or b.scale.constant is None:
                return None
            x, y = a.scale.constant, b.scale.constant
            return {ast.Lt: x < y, ast.Gt: x > y, ast.LtE: x <= y, ast.GtE: x >= y}[type(op)]
        case ast.Is() | ast.IsNot():
            return None
        case _:
            return None


def _same(m: Machine, left: Value, right: Value) -> bool | None:
    if isinstance(left, Text) and isinstance(right, Text):
        equal = keys.may_equal(left, right)
        if equal is not None and left.literal is not None and right.literal is not None:
            return equal
        return False if equal is False else None
    a, b = tensors.number(left), tensors.number(right)
    if a is not None and b is not None:
        x, y = a.scale.constant, b.scale.constant
        return None if x is None or y is None else x == y
    if isinstance(left, Const) and isinstance(right, Const) and ABSENT not in (left, right):
        return bool(left.value == right.value)
    if NONE in (left, right):
        known = m.is_none(left if right == NONE else right)
        return known
    return None


def _inside(m: Machine, left: Value, right: Value) -> bool | None:
    if isinstance(left, Text) and isinstance(right, Text):
        return keys.contains(right, left.literal) if left.literal is not None else None
    held = m.elements(right)
    if held is None or not isinstance(left, Text | Number):
        return None
    if isinstance(right, Ref) and right.kind == "dict":
        found = _entry(m, right, left)
        if found is not None:
            return None if _may_be_absent(found) else True
        return None if held[1] else False
    known = [_same(m, left, item) for item in held[0]]
    if True in known:
        return True
    return None if None in known or held[1] else False


def _may_be_absent(value: Value) -> bool:
    return value is ABSENT or (isinstance(value, Union) and any(o.value is ABSENT for o in value.options))


def _choice(m: Machine, node: ast.IfExp) -> Value:
    known = test(m, node.test)
    if known is not None:
        return evaluate(m, node.body if known else node.orelse)
    from lorascale_lint.provenance.statements import assume

    frame = m.frame
    guards, names = frame.guards, frame.names.local
    ways = []
    for holds, branch in ((True, node.body), (False, node.orelse)):
        frame.names.local = dict(names)
        assume(m, node.test, holds, m.atom(node.test))
        own = frame.guards[len(guards) :]
        ways.append((evaluate(m, branch), own))
        frame.guards = guards
    frame.names.local = names
    return join(ways)


# ---- entries ------------------------------------------------------------------------------


def _subscript(m: Machine, node: ast.Subscript) -> Value:
    base = evaluate(m, node.value)
    if isinstance(node.slice, ast.Slice):
        return each(base, lambda value: _slice(m, value, node.slice))
    key = operand(evaluate(m, node.slice))
    if isinstance(base, Union):  # of several dictionaries, those that have the key
        kept = [option for option in base.options if not _lacks(m, option.value, key)]
        base = join([(option.value, option.guards) for option in kept]) if kept else base
    found = combine(base, key, lambda value, at: item(m, value, at))
    read_entry(m, node, base, key, found, "item")
    return found


def read_entry(m: Machine, node: ast.AST, base: Value, key: Value, found: Value, how: str) -> None:
    """Writes the reading of an entry into the ledger."""
    if m.recording and isinstance(key, Text | Place):
        m.ledger.reads.append(KeyRead(m.spot(node), base, key, found, how, m.frame.guards))


def _entry_by_name(m: Machine, path: str) -> Place:
    """An element of a list or dictionary that is filled out of sight, by the name of that."""
    place = m.place(path)
    return Place(f"{path}[*]", place.role, place.weak)


def _lacks(m: Machine, value: Value, key: Value) -> bool:
    if not isinstance(value, Ref) or value.kind != "dict" or m.heap.read(value.key, "<factory>") is not None:
        return False
    entries = m.heap.read(value.key, "entries")
    return isinstance(entries, Entries) and not entries.open and match_entry(entries, key) is None


def item(m: Machine, value: Value, key: Value) -> Value:
    """``value[key]``."""
    match value:
        case Tup() | Ref(kind="list"):
            index = tensors.number(key)
            if index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            held = m.elements(value)
            return join([(v, ()) for v in held[0]]) if held is not None and held[0] else Element(value)
        case Ref(kind="dict"):
            found = _entry(m, value, key)
            if found is not None:
                return without_absent(found)
            factory = m.heap.read(value.key, "<factory>")
            if factory is not None:
                made = calls.call(m, factory, [], [], None)
                store_item(m, value, key, made, ast.Pass(lineno=0))
                return made
            path = m.heap.read(value.key, "<path>")
            role = keys.role_in(key) if isinstance(key, Text) else None
            if role is None and path:
                return _entry_by_name(m, str(path))
            return Place(f"entry {_shown(key)}", role)
        case Ref(kind="object", cls=cls) if cls is not None:
            found_method = m.program.method(cls, "__getitem__")
            if found_method is not None:
                return calls.call(m, Closure(found_method[0], value, owner=found_method[1]), [key], [], None)
            index = tensors.number(key)
            if m.heap.read(value.key, "<fields>") and index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            return objects.load_entry(m, value, key)
        case Text():
            return keys.derived(value, "letter", str(key))
        case Place():
            return place_entry(m, value, key)
        case Tensor():
            return library.tensor_item(m, value, key)
        case Method(receiver=receiver, name="shape"):
            return library.extent(m, receiver, key)
        case Element():
            index = tensors.number(key)
            if index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            return Place(
                f"{_path(value.source)}[*][{_shown(key)}]",
                keys.role_in(key) if isinstance(key, Text) else None,
            )
        case Klass() | Library():
            return value  # Generic[T]
        case Const(value=None):
            return UNKNOWN
        case _:
            return UNKNOWN


def place_entry(m: Machine, value: Place, key: Value) -> Value:
    """An entry of something out of sight: what was stored there, else what its key says."""
    if isinstance(key, Place) and key.role is None and key.path.endswith("[*]"):
        key = hole(key.path)  # an element of what is walked, used as a key
    cell = m.heap.read(("place", value.path), "entries")
    if isinstance(cell, Entries):
        found = match_entry(cell, key)
        if found is not None:
            return without_absent(found)
    role = keys.role_in(key) if isinstance(key, Text) else None
    weak = False
    if role is None and not (
        isinstance(key, Text) and key.literal and value.role not in ("scaling", "alpha", "rank")
    ):
        role, weak = value.role, value.weak
    if role is None and isinstance(key, Text) and key.literal:
        role = role_of(key.literal, m.frame.lora)
        weak = True
    if role in (None, "base") and value.role in ("A", "B") and not (role is None and value.weak):
        role, weak = value.role, value.weak  # the entry of an adapter, by its name
    holes = [part for part in key.parts if isinstance(part, Hole)] if isinstance(key, Text) else []
    under = holes[0].name if len(holes) == 1 and role is None else None
    return Place(f"{value.path}[{_shown(key)}]"[-160:], role, weak, under)


def _shown(key: Value) -> str:
    match key:
        case Text(parts=parts):
            return "".join(p if isinstance(p, str) else f"{{{str(p.name)[:60]}}}" for p in parts)
        case Number(scale=scale):
            return scale.formula()
        case Place(path=path):
            return path
        case _:
            return "*"


def item_at(m: Machine, value: Value, index: int) -> Value:
    """``value[index]`` for a literal index; also what unpacking gives."""
    match value:
        case Union():
            return each(value, lambda one: item_at(m, one, index))
        case Tup(items=items) if -len(items) <= index < len(items):
            return items[index]
        case Ref(kind="list", key=key):
            held = m.heap.read(key, "items")
            if isinstance(held, Items):
                if not held.open and -len(held.values) <= index < len(held.values):
                    return held.values[index]
                if held.open and held.values:
                    return join([(v, ()) for v in held.values])
        case Ref(kind="object"):
            fields = m.heap.read(value.key, "<fields>")
            if fields and -len(fields) <= index < len(fields):
                return objects.load_attribute(m, value, fields[index])
        case Ref(kind="dict"):
            return item(m, value, Number(Scale(Fraction(index))))
        case Method(receiver=receiver, name="shape"):
            return library.extent(m, receiver, Number(Scale(Fraction(index))))
        case Tensor(kind="A" | "B"):
            return value
        case Place():
            return place_entry(m, value, Number(Scale(Fraction(index))))
        case Element(source=source):
            return Place(f"{_path(source)}[*][{index}]")
        case _:
            pass
    return UNKNOWN


def _entry(m: Machine, value: Ref, key: Value) -> Value | None:
    entries = m.heap.read(value.key, "entries")
    return match_entry(entries, key) if isinstance(entries, Entries) else None


def match_entry(entries: Entries, key: Value) -> Value | None:
    """What is stored under ``key`` or under what may be the same key; None if there is no such entry."""
    perhaps: list[tuple[Value, Any]] = []
    for stored, value in reversed(entries.pairs):
        if stored == key:
            return value
        if isinstance(stored, Text) and isinstance(key, Text):
            equal = keys.may_equal(stored, key)
            if equal is True:
                return value
            if equal is None:
                perhaps.append((value, ()))
        elif isinstance(stored, Number) and isinstance(key, Number):
            if stored.scale.constant is None or key.scale.constant is None:
                perhaps.append((value, ()))
        elif (
            not isinstance(stored, Const) and not isinstance(key, Const) and type(stored) is not type(key)
        ) or not isinstance(stored, Const | Number | Text):
            perhaps.append((value, ()))
    return join(perhaps) if perhaps else None


def without_absent(value: Value) -> Value:
    """``value`` where it is there."""
    if isinstance(value, Union):
        return join([(option.value, option.guards) for option in value.options if option.value is not ABSENT])
    return UNKNOWN if value is ABSENT else value


def store_item(m: Machine, base: Value, key: Value, value: Value, node: ast.AST) -> None:
    """``base[key] = value``."""
    if isinstance(key, Union):
        for option in key.options:
            store_item(m, base, option.value, value, node)
        return
    if m.recording and not isinstance(base, Union):
        name = m.heap.read(base.key, "<path>") if isinstance(base, Ref) else None
        m.ledger.writes.append(KeyWrite(m.spot(node), base, key, value, m.frame.guards, str(name or "")))
    match base:
        case Ref(kind="dict"):
            entries = m.heap.read(base.key, "entries")
            if isinstance(entries, Entries):
                if isinstance(value, Ref) and isinstance(key, Text) and _is_made(m, entries, key, value):
                    return  # `if name not in groups: groups[name] = {}`, where another key made the group
                m.heap.write(base.key, "entries", with_entry(entries, key, held_as(m, base, key, value)))
        case Ref(kind="list"):
            held, index = m.heap.read(base.key, "items"), tensors.number(key)
            if isinstance(held, Items):
                place = None if index is None or index.scale.constant is None else int(index.scale.constant)
                if place is not None and not held.open and -len(held.values) <= place < len(held.values):
                    values = list(held.values)
                    values[place] = value
                    m.heap.write(base.key, "items", Items(tuple(values)))
                else:
                    m.heap.write(base.key, "items", Items((*held.values, value), True))
        case Ref(kind="object", cls=cls) if cls is not None:
            found = m.program.method(cls, "__setitem__")
            if found is not None:
                calls.call(m, Closure(found[0], base, owner=found[1]), [key, value], [], None)
            else:
                entries = m.heap.read(base.key, "entries") or Entries((), True)
                m.heap.write(base.key, "entries", with_entry(entries, key, value))
        case Place(path=path):
            entries = m.heap.read(("place", path), "entries") or Entries((), True)
            m.heap.write(("place", path), "entries", with_entry(entries, key, value))
        case Union(options=found):
            for option in found:
                store_item(m, option.value, key, value, node)
        case _:
            pass


def _is_made(m: Machine, entries: Entries, key: Text, value: Ref) -> bool:
    """Is an empty container put where one of its kind may be already?"""
    held = match_entry(entries, key)
    return isinstance(held, Ref) and key.literal is None and held.kind == value.kind and not _holds(m, value)


def held_as(m: Machine, base: Ref, key: Value, value: Value) -> Value:
    """``value`` as an entry of ``base``: a tensor made here becomes what its key or dictionary is called."""
    if not any(isinstance(o.value, Tensor) and o.value.kind == "fresh" for o in options(value)):
        return value
    literal = key.literal if isinstance(key, Text) else None
    name = literal if literal and role_of(literal, m.frame.lora) else m.heap.read(base.key, "<path>")
    return objects.by_name(m, str(name), value, base) if name else value


def _holds(m: Machine, value: Ref) -> bool:
    held = m.elements(value)
    return held is None or bool(held[0])


def with_entry(entries: Entries, key: Value, value: Value) -> Entries:
    """``entries`` with ``value`` under ``key``."""
    kept = tuple(pair for pair in entries.pairs if pair[0] != key)
    return Entries((*kept, (key, value)), entries.open)


def remove_item(m: Machine, base: Value, key: Value) -> Value:
    """``base.pop(key)`` or ``del base[key]``; what was there."""
    found = item(m, base, key)
    if isinstance(base, Ref) and base.kind == "dict":
        entries = m.heap.read(base.key, "entries")
        if isinstance(entries, Entries):
            kept = tuple(pair for pair in entries.pairs if pair[0] != key)
            m.heap.write(base.key, "entries", Entries(kept, entries.open))
    return found


def _slice(m: Machine, value: Value, node: ast.Slice) -> Value:
    low = None if node.lower is None else evaluate(m, node.lower)
    high = None if node.upper is None else evaluate(m, node.upper)
    bounds = [
        None if v is None else n.scale.constant if (n := tensors.number(v)) is not None else "?"
        for v in (low, high)
    ]
    match value:
        case Tup() | Ref(kind="list"):
            held = m.elements(value)
            if held is not None and not held[1] and "?" not in bounds:
                cut = held[0][slice(*(None if b is None else int(b) for b in bounds))]
                return Tup(tuple(cut)) if isinstance(value, Tup) else m.new_list(cut)
            return value
        case Text():
            return _cut(value, node, bounds, m)
        case Tensor() | Place():
            return library.tensor_item(m, value, UNKNOWN) if isinstance(value, Tensor) else value
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


def element_of(m: Machine, source: Value) -> Value:
    """What a loop variable is while something of unknown length is walked."""
    made = _element_of(m, source)
    for part in made.parts if isinstance(made, Text) else ():
        if isinstance(part, Hole):  # another loop knew something of its key, this one does not yet
            m.heap.write(("text", part.name), "has", frozenset())
    if isinstance(made, Tup) and made.items and isinstance(made.items[0], Text):
        for part in made.items[0].parts:
            if isinstance(part, Hole):
                m.heap.write(("text", part.name), "has", frozenset())
    return made


def _element_of(m: Machine, source: Value) -> Value:
    match source:
        case Union():
            return join([(element_of(m, option.value), option.guards) for option in source.options])
        case Ref(kind="list") | Tup():
            held = m.elements(source)
            if held is not None and held[0]:
                return join([(value, ()) for value in held[0]])
            path = m.heap.read(source.key, "<path>") if isinstance(source, Ref) else None
            return _entry_by_name(m, str(path)) if path else Element(source)
        case Ref(kind="dict"):
            held = m.elements(source)
            return (
                join([(value, ()) for value in held[0]])
                if held is not None and held[0]
                else hole(("key of", source.key))
            )
        case Method(receiver=receiver, name="keys()"):
            return hole(("key of", _path(receiver)))
        case Method(receiver=Place() as receiver, name="items()"):
            key = hole(("key of", receiver.path))
            return Tup((key, place_entry(m, receiver, key)))
        case Method(receiver=Place() as receiver, name="values()"):
            return Place(f"{receiver.path}[*]", receiver.role, receiver.weak)
        case Method(
            receiver=Place() as receiver, name="named_modules()" | "named_parameters()" | "named_children()"
        ):
            return Tup((hole(("name in", receiver.path)), Place(f"{receiver.path}.<module>")))
        case Place(path=path):
            if path.startswith("key of "):
                return hole(path)
            if source.made == "state dict":
                return hole(("key of", path))
            return Place(f"{path}[*]", source.role, source.weak)
        case Tensor():
            return source
        case _:
            return Element(source)


# ---- comprehensions, lambdas --------------------------------------------------------------


def _comprehension(m: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    from lorascale_lint.provenance.statements import UNROLL_LIMIT, assign, assume

    frame = m.frame
    names, guards = frame.names.local, frame.guards
    frame.names.local = dict(names)
    values: list[Any] = []
    state = {"open": False}

    def clause(index: int) -> None:
        if index == len(node.generators):
            if isinstance(node, ast.DictComp):
                values.append((evaluate(m, node.key), evaluate(m, node.value)))
            else:
                values.append(evaluate(m, node.elt))
            return
        generator = node.generators[index]
        source = evaluate(m, generator.iter)
        held = m.elements(source)
        if held is not None and not held[1] and len(held[0]) <= UNROLL_LIMIT:
            rounds = held[0]
        elif held is not None and not held[0] and not held[1]:
            rounds = []
        else:
            rounds, state["open"] = [element_of(m, source)], True
        for one in rounds:
            inner, local = frame.guards, dict(frame.names.local)
            assign(m, generator.target, one)
            wanted = True
            for condition in generator.ifs:
                known = test(m, condition)
                if known is False:
                    wanted = False
                    break
                if known is None:
                    state["open"] = True
                    assume(m, condition, True)
            if wanted:
                clause(index + 1)
            frame.guards, frame.names.local = inner, local

    clause(0)
    frame.names.local, frame.guards = names, guards
    if isinstance(node, ast.DictComp):
        made = m.new_dict(values, state["open"])
        for key, value in values:
            wrote(m, node.value, made, key, value)
        return made
    return m.new_list(values, state["open"])


def _lambda(m: Machine, node: ast.Lambda) -> Value:
    frame = m.frame
    info = FunctionInfo(frame.file, node, f"{frame.function.qualname if frame.function else ''}.<lambda>")
    return Closure(info, None, frame.names, owner=frame.owner)


def _walrus(m: Machine, node: ast.NamedExpr) -> Value:
    from lorascale_lint.provenance.statements import assign

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


def decorated(m: Machine, node: ast.expr, value: Value) -> Value:
    """What a decorator makes of a function: itself, unless the project's own code says otherwise."""
    name = dotted(node.func if isinstance(node, ast.Call) else node)
    if not name or name.rpartition(".")[2] in (
        "property",
        "staticmethod",
        "classmethod",
        "setter",
        "overload",
        "abstractmethod",
    ):
        return value
    if not m.stack:
        return value
    found = m.program.resolve(m.frame.file, name)
    if not isinstance(found, FunctionInfo) or not isinstance(value, Closure):
        return value
    if value.info.owner is not None:
        return value
    made = calls.call(m, Closure(found), [value], [], None) if not isinstance(node, ast.Call) else value
    return made if isinstance(made, Closure | Partial) else value


def pattern(m: Machine, node: ast.pattern, subject: Value) -> bool | None:
    """Does a pattern match? Binds its names."""
    local = m.frame.names.local
    match node:
        case ast.MatchValue(value=value):
            return _same(m, subject, evaluate(m, value))
        case ast.MatchSingleton(value=value):
            return m.is_none(subject) if value is None else None
        case ast.MatchAs(pattern=None, name=None):
            return True
        case ast.MatchAs(pattern=None, name=str() as name):
            local[name] = subject
            return True
        case ast.MatchAs(pattern=ast.pattern() as inner, name=name):
            known = pattern(m, inner, subject)
            if name is not None:
                local[name] = subject
            return known
        case ast.MatchOr(patterns=patterns):
            known_all = [pattern(m, one, subject) for one in patterns]
            return True if True in known_all else None if None in known_all else False
        case ast.MatchSequence(patterns=patterns):
            held = m.elements(subject)
            starred = any(isinstance(one, ast.MatchStar) for one in patterns)
            if held is not None and not held[1] and len(held[0]) != len(patterns) and not starred:
                return False
            results = [
                pattern(m, one, item_at(m, subject, index))
                for index, one in enumerate(patterns)
                if not isinstance(one, ast.MatchStar)
            ]
            if False in results:
                return False
            return None if None in results or held is None else True
        case ast.MatchMapping(keys=names, patterns=patterns):
            for key, one in zip(names, patterns, strict=True):
                pattern(m, one, item(m, subject, evaluate(m, key)))
            return None
        case ast.MatchClass(kwd_attrs=names, kwd_patterns=patterns, patterns=rest, cls=cls):
            meant = evaluate(m, cls)
            if isinstance(subject, Place | Element) and isinstance(meant, Klass):
                subject = objects.instance(m, meant.info)
            for name, one in zip(names, patterns, strict=True):
                pattern(m, one, attribute(m, subject, name))
            for index, one in enumerate(rest):
                pattern(m, one, item_at(m, subject, index))
            if isinstance(meant, Klass) and isinstance(subject, Ref) and subject.cls is not None:
                return meant.info in m.program.mro(subject.cls)
            return None
        case _:
            return None


def _call(m: Machine, node: ast.Call) -> Value:
    return calls.evaluate_call(m, node)


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
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.NamedExpr: _walrus,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
    ast.Await: lambda m, node: evaluate(m, node.value),
    ast.Starred: lambda m, node: evaluate(m, node.value),
}

__all__ = ["NUMBERS", "Number", "attribute", "evaluate", "item", "store_item", "test"]
