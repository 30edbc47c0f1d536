"""Records of one module's tensors whose alpha starts as a number and is set only if the file has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Loc,
    Mapping,
    Op,
    Term,
    each_term,
    is_none,
)
from lorascale_lint.model.adapter_flow import alpha_guard
from lorascale_lint.model.model import Model
from lorascale_lint.model.origins import literal_number
from lorascale_lint.model.project import Class, Function, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side, number_role


@dataclass(frozen=True, slots=True, eq=False)
class DefaultedEntry:
    """A field for alpha that starts as ``default``, is ``filled`` by key and ``divided`` by the rank."""

    filename: str
    name: str
    default: Const
    filled: tuple[Function, Event]
    divided: tuple[Function, Event, Op]


def defaulted_entries(model: Model) -> Iterator[DefaultedEntry]:
    """Each record once: classes and dictionary displays that start with no factors and a number for alpha."""
    for filename, name, default, functions, is_key in (*_of_classes(model), *_of_displays(model)):
        filled = _filled(functions, name, is_key)
        divided = _divided(model, functions, name, is_key) if filled is not None else None
        if filled is not None and divided is not None:
            yield DefaultedEntry(filename, name, default, filled, divided)


_Record = tuple[str, str, Const, tuple[Function, ...], bool]


def _of_classes(model: Model) -> Iterator[_Record]:
    for cls in model.project.classes.values():
        if is_test_file(cls.filename):
            continue
        fields = dict(_fields(model, cls))
        empty = {factor_side(name, True) for name, value in fields.items() if is_none(value)}
        for name, value in fields.items():
            default = literal_number(value)
            if default is not None and number_role(name, True) == ALPHA and {"A", "B"} <= empty:
                yield cls.filename, name, default, _functions(model, cls.filename), False


def _fields(model: Model, cls: Class) -> Iterator[tuple[str, Term]]:
    """What an object of ``cls`` starts with, whatever it is made with."""
    for attribute in cls.facts.attributes:
        if attribute.value is not None:
            yield attribute.name, _field_default(attribute.value)
    constructor = model.project.functions.get(f"{cls.module}.{cls.name}.__init__")
    for event in constructor.events("write") if constructor is not None else ():
        if isinstance(event.target, Attr) and not event.guards and not event.sign:
            yield event.target.name, event.value


def _field_default(value: Term) -> Term:
    """The default of ``field(default=...)``, ``Field(None)``, ``attr.ib(default=...)``."""
    if isinstance(value, Call) and getattr(value.func, "name", "") in ("field", "Field", "ib", "attrib"):
        return dict(value.keywords).get("default") or (value.args[0] if value.args else value)
    return value


def _of_displays(model: Model) -> Iterator[_Record]:
    """``{"up": None, "down": None, "alpha": 1.0}``."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        for _, term in each_term(function.facts.events):
            if not isinstance(term, Mapping):
                continue
            fields = {str(key.value): value for key, value in term.pairs if isinstance(key, Const)}
            empty = {factor_side(name, True) for name, value in fields.items() if is_none(value)}
            for name, value in fields.items():
                default = literal_number(value)
                if default is not None and number_role(name, True) == ALPHA and {"A", "B"} <= empty:
                    yield function.filename, name, default, _functions(model, function.filename), True


def _functions(model: Model, filename: str) -> tuple[Function, ...]:
    return tuple(item for item in model.functions if item.filename == filename)


def _is_field(term: Term | None, name: str, is_key: bool) -> bool:
    if is_key:
        return isinstance(term, Item) and isinstance(term.key, Const) and term.key.value == name
    return isinstance(term, Attr) and term.name == name


def _filled(functions: tuple[Function, ...], name: str, is_key: bool) -> tuple[Function, Event] | None:
    """Where alpha is set for the keys of a file; None if it is set anywhere else too."""
    found: tuple[Function, Event] | None = None
    for function in functions:
        if function.facts.name == "__init__":
            continue
        for event in function.events("write", "call"):
            if event.kind == "call":
                if _sets_any(event.value):
                    found = found or (function, event)
            elif _is_field(event.target, name, is_key):
                if alpha_guard(event.guards) is None:
                    return None
                found = (function, event)
            elif is_key and isinstance(event.target, Item) and _is_entry(event.target, event.value):
                found = found or (function, event)
    return found


def _sets_any(call: Term) -> bool:
    """``setattr(block, key.split(".")[-1], value)``: a field called after a computed part of a key."""
    match call:
        case Call(func=Global(name="setattr"), args=(_, key, _)):
            return not isinstance(key, Const)
        case _:
            return False


def _is_entry(target: Item, value: Term) -> bool:
    """``blocks[name][part] = tensor``: a part of a key names the field, the tensor comes from the loop."""
    return isinstance(target.base, Item) and isinstance(value, Item) and not isinstance(target.key, Const)


def _divided(
    model: Model, functions: tuple[Function, ...], name: str, is_key: bool
) -> tuple[Function, Event, Op] | None:
    """The quotient of alpha by the rank of the record's own factors."""
    seen: set[Loc] = set()
    for function in functions:
        frame = model.evaluator.frame(function)
        for event, term in each_term(function.facts.events):
            if not isinstance(term, Op) or term.sign != "/" or term.loc in seen or event.kind == "test":
                continue
            seen.add(term.loc)
            if any(_is_field(part, name, is_key) for part in _parts(term.left)):
                values = [a.value for a in model.evaluator.values(term.right, frame)]
                if values and all(isinstance(v, Number) and v.scale.power(RANK) > 0 for v in values):
                    return function, event, term
    return None


def _parts(term: Term) -> Iterator[Term]:
    if isinstance(term, Op) and term.sign == "*":
        yield from _parts(term.left)
        yield from _parts(term.right)
    elif isinstance(term, Call) and isinstance(term.func, Global) and term.func.name == "float" and term.args:
        yield from _parts(term.args[0])
    elif isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name in ("item", "to", "float"):
        yield from _parts(term.func.base)
    else:
        yield term
