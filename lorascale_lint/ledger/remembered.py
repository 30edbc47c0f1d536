"""What is made once and remembered under a name, though a strength decides it as well."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.interfaces import MESSAGES
from lorascale_lint.knowledge.operations import REMEMBERS, REMEMBERS_UNDER
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, STRENGTH, role_of
from lorascale_lint.ledger.conditions import expression, test_of
from lorascale_lint.ledger.entries import KeyWrite, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import Hole, Number, Tensor, Text, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Remembered:
    """``kept`` says for which name something was made; ``used`` is where alone ``strength`` matters.

    ``place`` is what the function asks, at ``asked``, before it makes that again.
    """

    strength: str
    asked: Spot
    used: Spot
    kept: Spot
    place: str


@dataclass(slots=True)
class _Function:
    """What a function remembers, under which conditions, and where it uses each strength that it is given."""

    kept: list[tuple[Spot, str, Guards, tuple[Value, ...]]] = field(default_factory=list)
    used: dict[str, list[tuple[Spot, Guards]]] = field(default_factory=lambda: defaultdict(list))


def remembered(ledger: Ledger) -> Iterator[Remembered]:
    """One for each strength that matters only where something is made for the first time."""
    for function, own in _functions(ledger).items():
        for strength, uses in own.used.items():
            yield from _only_at_first(function, own, strength, uses)


def _only_at_first(
    function: FunctionInfo, own: _Function, strength: str, uses: list[tuple[Spot, Guards]]
) -> Iterator[Remembered]:
    for spot, place, guards, names in own.kept:
        asked = next((guard for guard in guards if _asks_first(function, guard, place)), None)
        if asked is None or any(_mentions(name, strength) for name in names):
            continue
        if not all(asked in held for _, held in uses):
            continue
        test = test_of(function, asked[0])
        yield Remembered(
            strength, spot if test is None else replace(spot, node=test), uses[0][0], spot, place
        )
        break


def _asks_first(function: FunctionInfo, guard: tuple[str, bool], place: str) -> bool:
    """Does the condition hold where ``place`` has something else, as of ``name not in self.made``?"""
    match expression(guard[0]):
        case ast.Compare(left=left, ops=[ast.In()], comparators=[right]):
            return not guard[1] and ast.unparse(right) == place and not isinstance(left, ast.Constant)
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Is()]):
            return guard[1] and _is_looked_up(function, name, place)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            sides = (ast.unparse(left), ast.unparse(right))
            return not guard[1] and place in sides and not isinstance(right, ast.Constant)
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
            sides = (ast.unparse(left), ast.unparse(right))
            return guard[1] and place in sides and not isinstance(right, ast.Constant)
        case _:
            return False


def _is_looked_up(function: FunctionInfo, name: str, place: str) -> bool:
    """Is a local what the table has under some key, if it has: ``hit = self.made.get(name)``?"""
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == f"{place}.get"
        for node in ast.walk(function.node)
    )


def _functions(ledger: Ledger) -> dict[FunctionInfo, _Function]:
    found: dict[FunctionInfo, _Function] = defaultdict(_Function)
    strengths: dict[FunctionInfo, tuple[str, ...]] = {}
    chosen = _chosen(ledger)

    def note(spot: Spot, guards: Guards, *values: Value) -> None:
        function = spot.function
        if function is None or spot.chain or spot.file.is_test:
            return
        if function not in strengths:
            named = (p for p in function.parameters if _is_strength(p) or p in chosen.get(function, ()))
            strengths[function] = tuple(named)
        for name in strengths[function]:
            if any(_mentions(value, name) for value in values):
                found[function].used[name].append((spot, guards))

    for use in ledger.uses:
        if use.called not in MESSAGES:
            note(use.spot, use.guards, *use.given.values())
    for step in ledger.multiplied:
        note(step.spot, step.guards, step.by, Number(step.scale))
    for store in ledger.stores:
        note(store.spot, store.guards, store.value)
    for write in ledger.writes:
        note(write.spot, write.guards, write.key, write.value)
    for read in ledger.reads:
        note(read.spot, read.guards, read.key)
    for ask in ledger.asks:
        if ask.other is None or not _is_constant(ask.other):  # 0 asks for nothing at all
            note(ask.spot, ask.guards, ask.value, *(() if ask.other is None else (ask.other,)))
    entries: list[Store | KeyWrite | Use] = [*ledger.stores, *ledger.writes, *ledger.uses]
    for entry in entries:
        function = entry.spot.function
        if function is not None and function in found and not entry.spot.chain:
            place, names = _kept_in(entry)
            if place:
                found[function].kept.append((entry.spot, place, entry.guards, names))
    return found


def _chosen(ledger: Ledger) -> dict[FunctionInfo | None, set[str]]:
    """What multiplies a delta beside its trained scale, whatever it is called, in each function."""
    found: dict[FunctionInfo | None, set[str]] = defaultdict(set)
    for step in ledger.multiplied:
        of_delta = isinstance(step.before, Tensor) and step.before.kind == "delta"
        beside = any(symbol.role in (ALPHA, SCALING) for symbol, _ in step.scale.powers)
        for symbol, power in step.scale.powers if of_delta else ():
            if power == 1 and (symbol.role == STRENGTH or (beside and not symbol.role)):
                found[step.spot.function].add(symbol.origin.partition("=")[0])
    return found


def _is_strength(name: str) -> bool:
    """A `strength`; a `scale` may be the size of an image."""
    return role_of(name, True) == STRENGTH or role_of(name, False) == MULTIPLIER


def _kept_in(entry: Store | KeyWrite | Use) -> tuple[str, tuple[Value, ...]]:
    """Where something is remembered, as the code calls it (empty if nothing is), and by which name."""
    match entry, entry.spot.node:
        case Store(), _:
            return (f"self.{entry.field}" if entry.field else ""), (entry.value,)
        case KeyWrite(), ast.Subscript(value=held):
            return ast.unparse(held), (entry.key,)
        case Use(), ast.Call(func=ast.Attribute(value=held, attr=name)) if name in REMEMBERS:
            return ast.unparse(held), tuple(entry.given.values())
        case Use(), ast.Call(func=ast.Attribute(value=held, attr=name), args=[_, _]) if (
            name in REMEMBERS_UNDER
        ):
            return ast.unparse(held), (next(iter(entry.given.values())),)
        case _:
            return "", ()


def _is_constant(value: Value) -> bool:
    return all(isinstance(o.value, Number) and o.value.scale.constant is not None for o in options(value))


def _mentions(value: Value, name: str) -> bool:
    """Is the number of that name the value, or in it? A tensor that holds it already does not ask for it."""
    for option in options(value):
        one = option.value
        if isinstance(one, Tensor):
            continue
        if isinstance(one, Tup) and any(_mentions(item, name) for item in one.items):
            return True
        if isinstance(one, Text) and any(isinstance(p, Hole) and str(p.name) == name for p in one.parts):
            return True
        scale = getattr(one, "scale", None)
        if getattr(one, "path", "") == name or any(
            symbol.origin.partition("=")[0] == name for symbol, _ in getattr(scale, "powers", ())
        ):
            return True
    return False
