"""Numbers that a call is given twice: as alpha and as a strength, or as a strength of what has it already."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.pipelines import KEEPS_STRENGTH, SCALES_BY
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, STRENGTHS, A, B, role_of
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.strengths import GivenStrength, given_strengths
from lorascale_lint.linking.definitions import ClassInfo, FileInfo
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.values import UNKNOWN, Multiplied, Place, Ref, Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class GivenTwice:
    """``name`` is given for the parameters ``alpha`` and ``strength`` of one call."""

    use: Use
    name: str
    alpha: str
    strength: str


def given_twice(ledger: Ledger) -> Iterator[GivenTwice]:
    """Each call of code that speaks of LoRA once."""
    seen: set[object] = set()
    for use in ledger.uses:
        if use.spot.node in seen or use.spot.chain or use.spot.file.is_test:
            continue
        roles = {name: role_of(name, True) for name in use.given if not name.isdigit()}
        alphas = [name for name, role in roles.items() if role == ALPHA]
        strengths = [name for name, role in roles.items() if role in STRENGTHS]
        if len(alphas) != 1 or len(strengths) != 1 or not speaks_of_lora(f"{use.name} {' '.join(use.given)}"):
            continue
        names = [_number(use, name) for name in (alphas[0], strengths[0])]
        if names[0] and names[0] == names[1]:
            seen.add(use.spot.node)
            yield GivenTwice(use, names[0].partition("=")[0], alphas[0], strengths[0])


def _number(use: Use, parameter: str) -> str:
    """By which name the number is known that is given, if it is one."""
    found = [option.value for option in options(use.given[parameter])]
    plain = [value.path for value in found if isinstance(value, Place) and value.role in NUMBERS]
    return plain[0] if len(plain) == len(found) == 1 else ""


@immutable(frozen=True, slots=True, eq=False)
class ScaledBefore:
    """``use`` is given ``strength`` to multiply by, with deltas that have it since ``step``.

    ``again`` is where the project does so; None where a library does.
    """

    use: Use
    strength: str
    step: Multiplied
    again: Spot | None = None


def scaled_before(ledger: Ledger) -> Iterator[ScaledBefore]:
    """Each call once whose deltas all have the strength that it is given, of a library or of the project."""
    held: dict[int, list[Value]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref):
            held[write.container.key].append(write.value)
    seen: set[object] = set()
    libraries = ((given.use, given.value, None) for given in given_strengths(ledger))
    for use, number, again in (*libraries, *_kept_beside(ledger)):
        symbol = symbol_of(number)
        if symbol is None or use.spot.node in seen or use.spot.file.is_test:
            continue
        others = [value for value in use.given.values() if value is not number]
        found: dict[str, list[Tensor]] = defaultdict(list)
        for tensor in (tensor for value in others for tensor in _tensors(value, held)):
            found[tensor.kind].append(tensor)
        for tensors in found.values():  # of a pair, one factor has it
            steps = [step for tensor in tensors for step in tensor.steps if symbol in dict(step.scale.powers)]
            if steps and all(dict(tensor.scale.powers).get(symbol, 0) >= 1 for tensor in tensors):
                seen.add(use.spot.node)
                yield ScaledBefore(use, symbol.origin, steps[-1], again)
                break


def _kept_beside(ledger: Ledger) -> Iterator[tuple[Use, Value, Spot | None]]:
    """Strengths with which records of the project are made, that code multiplies by as fields of these."""
    multiplied: dict[FileInfo, Mapping[str, ast.expr]] = {}
    for use in ledger.uses:
        cls = use.callee if isinstance(use.callee, ClassInfo) else None
        for name, value in use.given.items() if cls is not None else ():
            if cls is None or role_of(name, True) not in STRENGTHS:
                continue
            if cls.file not in multiplied:
                multiplied[cls.file] = _multiplied_fields(cls.file)
            node = multiplied[cls.file].get(name)
            if node is not None:
                yield use, value, Spot(cls.file, None, None, node)


def _multiplied_fields(file: FileInfo) -> dict[str, ast.expr]:
    """Fields by which code of a file multiplies something else than a number of itself."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(file.tree):
        parts: list[ast.expr] = []
        match node:
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                parts = [left, right]
            case ast.Call(func=ast.Attribute(), keywords=keywords):
                parts = [keyword.value for keyword in keywords if keyword.arg == "alpha"]
            case _:
                pass
        for part in parts:
            if isinstance(part, ast.Attribute):
                found.setdefault(part.attr, part)
    return found


@immutable(frozen=True, slots=True, eq=False)
class ToldTwice:
    """A pipeline's layers get a strength at ``first``, and are scaled by the same one at ``again``."""

    first: GivenStrength
    again: GivenStrength


def told_twice(ledger: Ledger) -> Iterator[ToldTwice]:
    """Each call that scales adapters which have been set to that very strength, in one function."""
    groups: dict[object, list[GivenStrength]] = defaultdict(list)
    for given in given_strengths(ledger):
        if not given.use.spot.chain and not given.use.spot.file.is_test:
            groups[given.use.spot.function or given.use.spot.file].append(given)
    seen: set[object] = set()
    for beside in groups.values():
        kept = [given for given in beside if given.argument.call in KEEPS_STRENGTH]
        for again in beside:
            scales = again.argument.call in SCALES_BY or again.argument.entry
            for first in kept if scales and again.use.spot.node not in seen else ():
                of_one = again.use.receiver.partition("(")[0] in (first.use.receiver, "")
                same = _strength(first.value) and _strength(first.value) == _strength(again.value)
                apart = contradict(first.use.guards, again.use.guards)
                if same and of_one and not apart and first.use.spot.row < again.use.spot.row:
                    seen.add(again.use.spot.node)
                    yield ToldTwice(first, again)
                    break


def _strength(value: Value) -> str:
    """By which name a strength is known, also as one of several; nothing for a literal."""
    symbol = symbol_of(value)
    path = value.path if isinstance(value, Place) else symbol.origin if symbol is not None else ""
    return path.removesuffix("[*]") if path != UNKNOWN.path else ""


def _tensors(value: Value, held: Mapping[int, list[Value]], depth: int = 3) -> Iterator[Tensor]:
    """Deltas and factors in what is given, and in the tables and rows in it."""
    for option in options(value):
        one = option.value
        if isinstance(one, Tensor) and one.kind in ("delta", A, B):
            yield one
        elif isinstance(one, Tup | Ref) and depth:
            for item in one.items if isinstance(one, Tup) else held.get(one.key, ()):
                yield from _tensors(item, held, depth - 1)
