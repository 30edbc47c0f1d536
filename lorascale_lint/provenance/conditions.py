"""Tests: what they decide, and what holds where they were passed."""

from __future__ import annotations

import ast
from collections.abc import Callable

from lorascale_lint.bounds import CLASS_LIMIT
from lorascale_lint.knowledge.interfaces import TRAINABLE
from lorascale_lint.knowledge.patch_rows import KIND_AT, PATCH_AT, STRENGTH_AT, TENSORS, TENSORS_AT
from lorascale_lint.knowledge.roles import CORE, STRENGTH
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.heap import ABSENT
from lorascale_lint.provenance.lookups import entry, may_be_absent, presence
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.marks import WALKED, asked_for_none, none_question
from lorascale_lint.provenance.numbers import asked, compared
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.unseen import instance
from lorascale_lint.provenance.values import (
    NONE,
    Const,
    Element,
    Hole,
    Klass,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    each,
    is_one,
    join,
    options,
)


def test(m: Machine, node: ast.expr) -> bool | None:
    """Is the condition true here? None if that is not known."""
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            known = test(m, operand)
            return None if known is None else not known
        case ast.BoolOp(op=op, values=values):
            wanted = isinstance(op, ast.Or)
            guards = m.frame.guards
            results = []
            for value in values:
                results.append(test(m, value))
                name, sign = _named(m, value)
                if asked_for_none(name):  # the parts behind it are asked only then
                    m.frame.guards = (*m.frame.guards, (name, sign != wanted))
            m.frame.guards = guards  # what one part takes for granted holds only if it was asked
            if wanted in results:
                return wanted
            return None if None in results else not wanted
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, two = m.evaluate(left), m.evaluate(right)
            compared(m, node, op, one, two)
            known = _comparison(m, op, one, two)
            return _assumed(m, node) if known is None else known
        case ast.Compare(left=left, ops=ops, comparators=others):  # 0 <= ratio <= 1
            sides = [m.evaluate(side) for side in (left, *others)]
            parts = [_comparison(m, *part) for part in zip(ops, sides, sides[1:], strict=False)]
            if False in parts:
                return False
            return _assumed(m, node) if None in parts else True
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id="TYPE_CHECKING"):
            return False
        case _:
            found = m.evaluate(node)
            asked(m, node, "truth", found)
            known = m.truth(found)  # what was assumed may have been set since
            return _assumed(m, node) if known is None else known


def _named(m: Machine, node: ast.expr) -> tuple[str, bool]:
    """What guards call a condition, and what it says of that."""
    match node:
        case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)]):
            return _question(m, left), True
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return _question(m, left), False
        case _:
            return m.atom(node), True


def _question(m: Machine, left: ast.expr) -> str:
    """The question whether a name is None: another one where the answer to the last has set the name.

    A loop that sets it (``if alpha is None and "alpha" in key: alpha = value``) is asked again behind it.
    """
    asked = none_question(m.atom(left))
    value = m.frame.names.local.get(left.id) if isinstance(left, ast.Name) else None
    for option in value.options if isinstance(value, Union) else ():
        if (asked, True) in option.guards and isinstance(option.value, Place):
            return none_question(f"{m.atom(left)} again")
    return asked


def _assumed(m: Machine, node: ast.expr) -> bool | None:
    if isinstance(node, ast.Call):
        return None
    name, holds = _named(m, node)
    m.memory.asked((name,))
    for atom, value in reversed(m.frame.guards):
        if atom == name:
            return value == holds
    return None


def _comparison(m: Machine, op: ast.cmpop, left: Value, right: Value) -> bool | None:
    match op:
        case ast.Is() | ast.IsNot() if right == NONE:
            known = m.is_none(left)
            return None if known is None else known == isinstance(op, ast.Is)
        case ast.Eq() | ast.NotEq():
            same = is_same(m, left, right)
            return None if same is None else same == isinstance(op, ast.Eq)
        case ast.In() | ast.NotIn():
            inside = holds(m, left, right)
            return None if inside is None else inside == isinstance(op, ast.In)
        case ast.Lt() | ast.Gt() | ast.LtE() | ast.GtE():
            a, b = number(left), number(right)
            if a is None or b is None or a.scale.constant is None or b.scale.constant is None:
                return None
            x, y = a.scale.constant, b.scale.constant
            return {ast.Lt: x < y, ast.Gt: x > y, ast.LtE: x <= y, ast.GtE: x >= y}[type(op)]
        case ast.Is() | ast.IsNot():
            return None
        case _:
            return None


def is_same(m: Machine, left: Value, right: Value) -> bool | None:
    if isinstance(left, Text) and isinstance(right, Text):
        equal = keys.may_equal(left, right)
        if equal is not None and left.literal is not None and right.literal is not None:
            return equal
        return False if equal is False else None
    a, b = number(left), number(right)
    if a is not None and b is not None:
        x, y = a.scale.constant, b.scale.constant
        return None if x is None or y is None else x == y
    if isinstance(left, Const) and isinstance(right, Const) and ABSENT not in (left, right):
        return bool(left.value == right.value)
    if NONE in (left, right):
        known = m.is_none(left if right == NONE else right)
        return known
    return None


def holds(m: Machine, left: Value, right: Value) -> bool | None:
    """Is ``left`` in ``right``? None if that is not known."""
    if isinstance(left, Text) and isinstance(right, Text):
        return keys.contains(right, left.literal) if left.literal is not None else None
    held = m.elements(right)
    if held is None or not isinstance(left, Text | Number):
        return None
    if isinstance(left, Text) and left.literal is None:
        return None  # in the next round of a loop it is another key
    if isinstance(right, Ref) and right.kind == "dict":
        found = entry(m, right, left)
        if found is not None:
            return None if may_be_absent(found) else True
        return None if held[1] else False
    known = [is_same(m, left, item) for item in held[0]]
    if True in known:
        return True
    return None if None in known or held[1] else False


def assume(m: Machine, test: ast.expr, holds: bool, name: str = "") -> None:
    """Take a condition for granted: forget what contradicts it."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            assume(m, operand, not holds)
            return
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) == holds:
            for value in values:
                assume(m, value, holds)
            m.assume(name or m.atom(test), holds)  # what contradicts the other branch
            return
        case ast.NamedExpr(target=target):
            test = target
        case _:
            pass
    match test:
        case ast.Compare(left=left, ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None)]):
            m.assume(_question(m, left), holds)
            _narrow(m, left, lambda value: (m.is_none(value) is True) == holds or m.is_none(value) is None)
        case ast.Compare(left=left, ops=[ast.IsNot() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            m.assume(_question(m, left), not holds)
            _narrow(m, left, lambda value: (m.is_none(value) is True) != holds or m.is_none(value) is None)
        case ast.Compare(left=left, ops=[ast.Eq() as sign], comparators=[right]) if holds:
            m.assume(m.atom(test), holds)
            known = m.evaluate(right)
            _narrow(m, left, lambda value: _comparison(m, sign, value, known) in (None, True))
            _is_patch(m, m.evaluate(left), known)
            _contains(m, left, known)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as sign], comparators=[right]):
            inside = isinstance(sign, ast.In) == holds
            m.assume(m.atom_in(left, right), inside)
            _present(m, m.evaluate(left), right, inside)
            if inside:
                _contains(m, right, m.evaluate(left))
                _is_like_all(m, left, m.evaluate(right))
        case ast.Compare(left=ast.Name() as left, ops=[sign], comparators=[right]):
            m.assume(name or m.atom(test), holds)
            against = m.evaluate(right)
            _narrow(m, left, lambda value: _comparison(m, sign, value, against) in (None, holds))
        case ast.Call(func=ast.Attribute(value=owner, attr="endswith" | "startswith"), args=[word]) if holds:
            m.assume(m.atom(test), holds)
            _contains(m, owner, m.evaluate(word))
        case ast.Call(func=ast.Name(id="isinstance"), args=[subject, kinds]):
            m.assume(m.atom(test), holds)
            if holds:
                _becomes(m, subject, kinds)
        case ast.Name() | ast.Attribute():
            m.assume(m.atom(test), holds)
            _narrow(m, test, lambda value: m.truth(value) in (None, holds))
            if holds and isinstance(test, ast.Attribute) and test.attr == TRAINABLE:
                _is_trained(m, m.evaluate(test.value))
        case _:
            m.assume(name or m.atom(test), holds)


def _narrow(m: Machine, node: ast.expr, keep: Callable[[Value], bool]) -> None:
    if not isinstance(node, ast.Name | ast.Attribute):
        return
    value = m.evaluate(node)
    small = m.given(value, keep)
    if small is value:
        return
    if isinstance(node, ast.Name):
        m.frame.names.local[node.id] = small
    else:
        owner = m.evaluate(node.value)
        if isinstance(owner, Ref) and owner.kind == "object":
            m.heap.write(owner.key, node.attr, small)


def _present(m: Machine, key: Value, container: ast.expr, holds: bool) -> None:
    """A key is in a dictionary out of sight: what `presence` calls this is assumed."""
    if isinstance(key, Text | Place) and isinstance(container, ast.Name | ast.Attribute):
        held = m.evaluate(container)
        if isinstance(held, Place):
            m.assume(presence(key, held.path), holds)


def _contains(m: Machine, node: ast.expr, word: Value) -> None:
    """A text that is known to hold a word."""
    function = m.frame.function
    if isinstance(node, ast.Name) and function is not None and node.id in function.mappings:
        return  # `key in tensors`: no text
    if isinstance(word, Tup) and len(word.items) == 1:
        word = word.items[0]
    if not isinstance(word, Text) or not word.literal:
        return
    known = word.literal
    if isinstance(node, ast.Name):
        value = m.frame.names.find(node.id)
        if value is not None:
            _cut_from(m, value, known)
            m.frame.names.local[node.id] = each(value, lambda one: _with_word(m, one, known))
        return
    if not isinstance(node, ast.Attribute):
        if isinstance(node, ast.Subscript | ast.Call):
            _cut_from(m, m.evaluate(node), known)
        return
    owner, held = m.evaluate(node.value), m.evaluate(node)  # a field of a record: `part.kind == "diff"`
    if isinstance(owner, Ref) and owner.kind == "object" and isinstance(held, Text):
        m.heap.write(owner.key, node.attr, _with_word(m, held, known))


def _cut_from(m: Machine, value: Value, word: str) -> None:
    """What a piece of a text holds, or the list of its pieces, the whole holds: `key.split(".")[-2]`."""
    pieces = [option.value for option in options(value)]
    for piece in tuple(pieces):
        pieces += (m.elements(piece) or ([], False))[0] if isinstance(piece, Ref | Tup) else []
    holes = [part for piece in pieces if isinstance(piece, Text) for part in piece.parts]
    roots = {part.root for part in holes if isinstance(part, Hole) and part.root is not None}

    def whole(one: Value) -> Value:
        own = isinstance(one, Text) and any(isinstance(p, Hole) and p.name in roots for p in one.parts)
        return _with_word(m, one, word) if own else one

    for name, held in m.frame.names.local.items() if len(roots) == 1 else ():
        if isinstance(held, Text | Union):
            m.frame.names.local[name] = each(held, whole)


def _with_word(m: Machine, value: Value, word: str) -> Value:
    if isinstance(value, Place) and (value.made == "state dict" or value.path.startswith("file(")):
        return value  # `key in tensors`: no text
    text = hole(value.path) if isinstance(value, Place) and value.role is None else value
    if not isinstance(text, Text):
        return value
    holes = [part for part in text.parts if isinstance(part, Hole)]
    for part in holes[:1]:
        for name in {part.name, part.root or part.name}:
            known = m.heap.read(("text", name), "has") or frozenset()
            m.heap.write(("text", name), "has", known | {word})
    return keys.with_word(text, word)


def _is_like_all(m: Machine, node: ast.expr, container: Value) -> None:
    """A text that is one of several is known to hold what all of them hold."""
    held = m.elements(container) if isinstance(container, Ref) and container.kind == "list" else None
    texts = [value for value in held[0] if isinstance(value, Text)] if held is not None else []
    if held is None or not texts or len(texts) < len(held[0]):
        return
    known = [[part.has for part in text.parts if isinstance(part, Hole)] for text in texts]
    for word in sorted(frozenset.intersection(*(frozenset().union(*has) for has in known))):
        _contains(m, node, Text((word,)))


def _is_patch(m: Machine, kind: Value, word: Value) -> None:
    """A patch whose kind is known has its tensors in a known order, and its row begins with a strength."""
    kinds = TENSORS.get(word.literal or "", ()) if isinstance(word, Text) else ()
    known: dict[str, Value] = {}
    for option in options(kind) if kinds else ():
        row, end, _ = getattr(option.value, "path", "").rpartition(f"[{PATCH_AT}][{KIND_AT}]")
        if isinstance(option.value, Place) and end and is_one(option.value):
            path = f"{row}[{PATCH_AT}][{TENSORS_AT}]"
            tensors = Tup(
                tuple(
                    Tensor("data", variant=CORE) if role == CORE else Place(f"{path}[{at}]", role)
                    for at, role in enumerate(kinds)
                )
            )
            known[path] = tensors
            known[f"{row}[{PATCH_AT}]"] = Tup((word, tensors))
            known[f"{row}[{STRENGTH_AT}]"] = Place(f"{row}[{STRENGTH_AT}]", STRENGTH)
    for name, value in m.frame.names.local.items() if known else ():
        ways = [(known[path], o.guards) for o in options(value) if (path := _path(o.value)) in known]
        inner = [way for way in ways if not (isinstance(way[0], Tup) and way[0].items[0] is word)]
        if ways:  # on other ways it is the patch around the tensors, or a difference alone
            m.frame.names.local[name] = join(inner or ways)


def _path(value: Value) -> str:
    return value.path if isinstance(value, Place) else ""


def _is_trained(m: Machine, owner: Value) -> None:
    """A parameter of a model is trained: its name, which a loop gives with it, is known to be such a one."""
    if not isinstance(owner, Place):
        return
    wanted = ("name in", owner.path.removesuffix(f".{WALKED}"))

    def marked(value: Value) -> Value:
        if isinstance(value, Tup):  # `filter(lambda named: named[1].requires_grad, ...)`
            return Tup(tuple(marked(item) for item in value.items))
        own = isinstance(value, Text) and any(isinstance(p, Hole) and p.name == wanted for p in value.parts)
        return keys.with_word(value, TRAINABLE) if own and isinstance(value, Text) else value

    for name, value in m.frame.names.local.items():
        if isinstance(value, Text | Tup) and (known := marked(value)) != value:
            m.frame.names.local[name] = known


def _becomes(m: Machine, subject: ast.expr, kinds: ast.expr) -> None:
    """``isinstance(x, SomeLayer)``: from here on ``x`` is one, whatever is stored in it."""
    if not isinstance(subject, ast.Name):
        return
    value = m.frame.names.find(subject.id)
    if not isinstance(value, Place | Element):
        return
    meant = m.evaluate(kinds)
    classes = [
        item.info for item in (meant.items if isinstance(meant, Tup) else (meant,)) if isinstance(item, Klass)
    ]
    made = [(instance(m, cls), ((f"is {cls.qualname}", True),)) for cls in classes[:CLASS_LIMIT]]
    if made:
        m.frame.names.local[subject.id] = made[0][0] if len(made) == 1 else join(list(made))
