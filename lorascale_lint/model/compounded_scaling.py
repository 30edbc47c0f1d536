"""A stored scaling that is read back as if it were a strength, and multiplied by alpha / rank again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Item,
    Loc,
    Logic,
    Mapping,
    Op,
    Param,
    Sequence,
    Term,
    source_text,
)
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import number_role

_STEPS = 60
_UNCHANGED = frozenset("float copy deepcopy list tuple dict".split())


@dataclass(frozen=True, slots=True, eq=False)
class Compounded:
    """The entry ``read`` comes back at ``loc``; ``sets`` says that PEFT's ``set_scale`` multiplies."""

    function: Function
    event: Event
    loc: Loc
    read: Item
    sets: bool


def compounded_scalings(model: Model) -> Iterator[Compounded]:
    """``layer.scaling[name] = layer.scaling[name] * alpha / r``, also by way of lists and saved values."""
    own = bool(model.project.methods_named("set_scale"))
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        for event in function.events("write", "call"):
            if event.kind == "call" and own:
                continue  # what a setter of the project does is not known here
            if event.kind == "call":
                value = _given_to_set_scale(event.value)
                read = _read(model, function, value, "") if value is not None else None
                if read is not None:
                    yield Compounded(function, event, event.loc, read, True)
                continue
            table = _table(event.target)
            if table is None or event.sign:
                continue
            top, bottom = _quotient(event.value)
            if not _has_role(top, ALPHA) or not _has_role(bottom, RANK) or _has_role(bottom, ALPHA):
                continue
            for part in top:
                read = _read(model, function, part, table)
                if read is not None:
                    yield Compounded(function, event, event.loc, read, False)
                    break


def _table(target: Term | None) -> str | None:
    """``layer.scaling`` of the entry ``layer.scaling[name]``."""
    match target:
        case Item(base=Attr(name="scaling") as table):
            return source_text(table)
        case _:
            return None


def _given_to_set_scale(call: Term) -> Term | None:
    """The strength in ``layer.set_scale(adapter, strength)``."""
    match call:
        case Call(func=Attr(name="set_scale"), args=(_, value)):
            return value
        case Call(func=Attr(name="set_scale"), args=(_,), keywords=(("scale", value),)):
            return value
        case _:
            return None


def _quotient(term: Term) -> tuple[list[Term], list[Term]]:
    """What a product multiplies, and what it divides by."""
    match term:
        case Op(sign="*", left=left, right=right):
            (above, below), (more, less) = _quotient(left), _quotient(right)
            return above + more, below + less
        case Op(sign="/", left=left, right=right):
            (above, below), (under, over) = _quotient(left), _quotient(right)
            return above + over, below + under
        case Call(func=Global(name="float"), args=(inner,)):
            return _quotient(inner)
        case _:
            return [term], []


def _has_role(terms: list[Term], role: str) -> bool:
    return any(_role(term) == role for term in terms)


def _role(term: Term) -> str | None:
    while isinstance(term, Item):
        term = term.base
    if isinstance(term, Call) and getattr(term.func, "name", "") == "sqrt" and term.args:
        return _role(term.args[0])
    return number_role(term.name, True) if isinstance(term, Attr | Param | Global) else None


def _read(model: Model, function: Function, term: Term, table: str) -> Item | None:
    """An entry of ``table`` (of any table called scaling, if empty) that ``term`` may be, as it was."""
    pending: list[tuple[Term, Function, int]] = [(term, function, 0)]
    for _ in range(_STEPS):
        if not pending:
            break
        current, where, depth = pending.pop()
        match current:
            case Item(base=Attr(name="scaling") as base) if not table or source_text(base) == table:
                return current
            case Choice(then=left, other=right) | Logic(left=left, right=right):
                pending += [(left, where, depth), (right, where, depth)]
            case Op(sign="*", left=left, right=right) if not table:
                pending += [(left, where, depth), (right, where, depth)]
            case Call(func=Global(name=name) | Attr(name=name), args=(inner, *_)) if name in _UNCHANGED:
                pending.append((inner, where, depth))
            case Item(
                base=Element(source=Call(func=Global(name="zip"), args=args)), key=Const(value=int() as n)
            ):
                if n < len(args):
                    pending.append((Element(args[n], current.loc), where, depth))
            case Element(source=source) | Item(base=source):
                pending += [(inside, where, depth) for inside in _inside(source)]
                if isinstance(source, Attr | Element | Item):
                    pending.append((source, where, depth))
            case Mapping() | Sequence():
                pending += [(inside, where, depth) for inside in _inside(current)]
            case Attr(base=base, name=name) if (
                depth < 2 and where.owner is not None and is_receiver(base, where)
            ):
                pending += [
                    (write.event.value, write.function, depth + 1)
                    for write in model.project.writes(where.owner, name)
                    if write.on_self and not write.event.sign
                ]
            case _:
                pass
    return None


def _inside(source: Term) -> list[Term]:
    """What a container that is made here holds, by each way that it is made."""
    match source:
        case Choice(then=then, other=other):
            return _inside(then) + _inside(other)
        case Sequence(items=items):
            return list(items)
        case Mapping(pairs=pairs):
            return [value for _, value in pairs]
        case Op(sign="*", left=Sequence() as left):
            return _inside(left)
        case _:
            return []
