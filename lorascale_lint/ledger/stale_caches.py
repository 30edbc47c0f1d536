"""Deltas and merged weights that a field keeps with a number in them, which a setter changes alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTHS, role_of
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import fields_in
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.linking.results import arms
from lorascale_lint.provenance.values import NONE, Number, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class StaleCache:
    """``made`` is kept in ``field`` with ``number``, a field too, in it; ``setter`` sets that one alone."""

    made: Spot
    field: str
    number: str
    setter: Store


def stale_caches(ledger: Ledger) -> Iterator[StaleCache]:
    """One for each place that fills a cache, where nothing that sets the number empties it."""
    setters: dict[tuple[ClassInfo | FileInfo, str], list[Store]] = defaultdict(list)
    for store in ledger.stores:
        function = store.spot.function
        owner = _owner(store)
        if owner is None or function is None or store.spot.chain or not _is_given(store):
            continue
        if function.name not in CONSTRUCTORS and not store.spot.file.is_test:
            setters[owner, store.field].append(store)
    seen: set[ast.AST] = set()
    for spot, field, value in _kept(ledger) if setters else ():
        cls, function = spot.cls, spot.function
        if cls is None or function is None or function.name in CONSTRUCTORS or spot.node in seen:
            continue
        numbers = [*_numbers(value, cls)]
        tests = _tests(function, spot.node, field) if numbers else []
        for number in numbers:
            places: tuple[ClassInfo | FileInfo, ...] = (cls, cls.file)
            found = (s for at in places for s in setters[at, number] if s.spot.function is not function)
            alone = (item for item in found if not _renews(item, field, tests))
            setter = next(alone, None)
            if tests and setter is not None and not any(number in test for test in tests):
                seen.add(spot.node)
                yield StaleCache(spot, field, number, setter)
                break


def _owner(store: Store) -> ClassInfo | FileInfo | None:
    """The class whose field is set; of objects out of sight the file, if it is a strength by its name."""
    if isinstance(store.owner, Ref):
        return store.owner.cls
    return store.spot.file if role_of(store.field, True) in STRENGTHS else None


def _is_given(store: Store) -> bool:
    """Is it something that a caller chooses, and no number that is written out?"""
    found = [option.value for option in options(store.value)]
    return not any(value == NONE or isinstance(value, Tensor | Ref) for value in found) and not all(
        isinstance(value, Number) and value.scale.constant is not None for value in found
    )


def _kept(ledger: Ledger) -> Iterator[tuple[Spot, str, Value]]:
    """What is put into a field of the object itself, or an entry of one."""
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for entry in entries:
        if entry.spot.chain or entry.spot.file.is_test:
            continue
        match entry.spot.node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if isinstance(entry, Store):
                yield entry.spot, name, entry.value
            case ast.Subscript(value=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                yield entry.spot, name, entry.value


def _numbers(value: Value, cls: ClassInfo) -> Iterator[str]:
    """Fields of the object that are multiplied into a delta, or into a weight that has it."""
    for option in options(value):
        one = option.value
        if isinstance(one, Tensor) and one.kind in ("delta", "adapted") and one.space == "weight":
            for step in one.steps:
                if step.spot.cls is cls and step.number is not None:
                    yield from fields_in(step.number)


def _tests(function: FunctionInfo, node: ast.AST, field: str) -> list[str]:
    """What is asked of the field before it is filled, around that or on the way there."""
    around = [branch.test for branch, _ in arms(function, node)]
    texts = [*map(ast.unparse, around), *_left_after(function)]
    return texts if any(_names(field, text) for text in texts) else []


@lru_cache(16)  # functions are looked at in turn
def _left_after(function: FunctionInfo) -> list[str]:
    """The tests behind which the function returns at once."""
    return [
        ast.unparse(part.test)
        for part in function.nodes
        if isinstance(part, ast.If) and any(isinstance(inner, ast.Return) for inner in part.body)
    ]


def _names(field: str, text: str) -> bool:
    return f"self.{field}" in text or f"'{field}'" in text


def _renews(setter: Store, field: str, tests: list[str]) -> bool:
    """Does the method, or one of the object that it calls, name the field, or set what the tests ask?

    So may all methods that call it.
    """
    function = setter.spot.function
    assert function is not None
    methods = [] if function.owner is None else function.owner.methods.values()
    callers = [other for other in methods if function.name in other.attributes_read and other is not function]
    if callers and all(_does_renew(other, field, tests) for other in callers):
        return True
    return _does_renew(function, field, tests)


def _does_renew(function: FunctionInfo, field: str, tests: list[str]) -> bool:
    return any(
        field in one.attributes_read or _sets(one, field) or any(_sets_asked(one, tests))
        for one in _with_called(function)
    )


def _with_called(function: FunctionInfo) -> Iterator[FunctionInfo]:
    """The function and the methods of its class that it calls, and those that they call."""
    todo, seen = [function], {function}
    while todo:
        one = todo.pop()
        yield one
        for cls in () if one.owner is None else (one.owner, *one.owner.inner.values()):
            for name in one.attributes_read & cls.methods.keys():
                if cls.methods[name] not in seen:
                    seen.add(cls.methods[name])
                    todo.append(cls.methods[name])


def _set_in(function: FunctionInfo) -> Iterator[str]:
    for node in function.nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Subscript(value=ast.Attribute(attr=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Constant(value=str(name)):
                yield name
            case _:
                pass


def _sets(function: FunctionInfo, field: str) -> bool:
    return field in _set_in(function)


def _sets_asked(function: FunctionInfo, tests: list[str]) -> Iterator[bool]:
    for name in _set_in(function):
        yield any(f"self.{name}" in test for test in tests)
