"""Who writes the scaling that a class stores: by which formula, and whether it was the former value's."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import MULTIPLIER, SCALING, STRENGTHS, role_of
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.powers import HALF, powers_of, trained_part
from lorascale_lint.ledger.scale_stores import field_name, uses_former
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.scale import TRAINED, Scale
from lorascale_lint.provenance.values import Ref, options


@immutable(frozen=True, slots=True, eq=False)
class Writer:
    """A statement that stores a scaling, and every scale that it may store there."""

    spot: Spot
    field: str
    scales: tuple[Scale, ...]

    @property
    def function(self) -> FunctionInfo:
        """Where it stands."""
        assert self.spot.function is not None
        return self.spot.function


def writers(ledger: Ledger) -> dict[tuple[ClassInfo, str], list[Writer]]:
    """The statements that store a trained scale in a field, or an entry of one, by class and field."""
    return ledger.once(_writers)


def _writers(ledger: Ledger) -> dict[tuple[ClassInfo, str], list[Writer]]:
    places: dict[tuple[str, int, str], list[Store | KeyWrite]] = defaultdict(list)
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for entry in entries:
        function, name = entry.spot.function, _field(entry)
        if function is None or function.owner is None or function.file.is_test:
            continue
        if role_of(name, True) in (SCALING, MULTIPLIER):
            places[entry.spot.file.filename, entry.spot.row, name].append(entry)
    found: dict[tuple[ClassInfo, str], list[Writer]] = defaultdict(list)
    for (_, _, name), looks in places.items():
        values = [scale_of(option.value) for look in looks for option in options(look.value)]
        scales = tuple(dict.fromkeys(scale for scale in values if scale is not None and scale.powers))
        function = looks[0].spot.function
        owner = function.owner if function is not None else None
        given = set(function.parameters) if function is not None else set()  # numbers that a caller picks
        if owner is not None and scales and all(given.issuperset(scale.unknowns()) for scale in scales):
            found[owner, name].append(Writer(looks[0].spot, name, scales))
    return found


def _field(entry: Store | KeyWrite) -> str:
    """The field of the receiver that is set, or gets an entry; empty for those of other objects."""
    if isinstance(entry, Store):
        return entry.field if isinstance(entry.owner, Ref) else ""
    path = getattr(entry.container, "path", "")
    return field_name(entry) or (path.removeprefix("self.") if path.count(".") == 1 else "")


def other_formulas(ledger: Ledger) -> Iterator[tuple[Writer, Writer]]:
    """A writer of alpha / rank that knows no rsLoRA, and one of the same object and field that does."""
    known = writers(ledger)
    for (cls, name), own in known.items():
        beside = [w for (other, field), ws in known.items() if field == name for w in ws]
        for writer in own:
            if not all(_below(scale) == 1 for scale in writer.scales) or _knows(writer.function):
                continue
            for root in beside:
                theirs = root.function.owner
                if theirs is None or root.function.name == writer.function.name:
                    continue  # an override makes the object in another way
                one_object = cls in ledger.lineage(theirs) or theirs in ledger.lineage(cls)
                if one_object and any(_below(scale) == HALF for scale in root.scales):
                    yield writer, root
                    break


def forgotten(ledger: Ledger) -> Iterator[tuple[Writer, Writer, Writer]]:
    """A method ``scale_x`` that stores what it is given times alpha / rank, and ``unscale_x`` alpha / rank.

    Both forget what was stored before; the third is who stored it first.
    """
    for own in writers(ledger).values():
        for undo in own:
            bare = undo.function.name.lower().lstrip("_")
            done = bare.removeprefix("un").lstrip("_")
            if done == bare or any(trained_part(scale).by_role() != TRAINED for scale in undo.scales):
                continue
            if any(scale != trained_part(scale) for scale in undo.scales):
                continue
            made = [w for w in own if w.function.name.lower().lstrip("_") == done]
            first = [w for w in own if w.function not in (undo.function, *(m.function for m in made))]
            again = [w for w in own if w.function is undo.function]
            if not all(map(_is_fresh, (*made, *again))):
                continue
            if made and first and all(_is_given(scale) for w in made for scale in w.scales):
                yield made[0], undo, first[0]


def reset_for_a_while(ledger: Ledger) -> Iterator[tuple[Spot, Spot]]:
    """Where a function multiplies a stored scaling for a block, and behind it stores alpha / rank instead."""
    places: dict[tuple[FunctionInfo, str], list[Store | KeyWrite]] = defaultdict(list)
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for entry in entries:
        function, name = entry.spot.function, _path(entry)
        if function is None or entry.spot.chain or function.file.is_test:
            continue
        if role_of(name.rpartition(".")[2], True) in (SCALING, MULTIPLIER):
            places[function, name].append(entry)
    for (function, _), own in places.items():
        resets = [entry for entry in own if (bare := scale_of(entry.value)) and bare.by_role() == TRAINED]
        changed = next(filter(_multiplies_former, own), None) if resets else None
        for reset in resets if changed is not None else ():
            if changed is not None and _lies_between(function, changed.spot.row, reset.spot.row):
                yield changed.spot, reset.spot
                break


def _path(entry: Store | KeyWrite) -> str:
    """What is set: a field, or the table of which an entry is; empty where that is not known."""
    if isinstance(entry, KeyWrite):
        return getattr(entry.container, "path", "") or (f"self.{entry.name}" if entry.name else "")
    return f"{getattr(entry.owner, 'path', 'self')}.{entry.field}"


def _multiplies_former(entry: Store | KeyWrite) -> bool:
    """Is what is stored the scaling that was there, times something else?"""
    name = _path(entry)
    scales = [scale_of(option.value) for option in options(entry.value)]
    return bool(name) and any(
        scale is not None
        and len(scale.powers) > 1
        and any(power == 1 and symbol.origin.startswith(name) for symbol, power in scale.powers)
        for scale in scales
    )


def _lies_between(function: FunctionInfo, first: int, last: int) -> bool:
    """Does a block run between two rows: a `yield`, or a `try` that ends in the second?"""
    for node in function.nodes:
        if isinstance(node, ast.Yield) and first < node.lineno < last:
            return True
        if isinstance(node, ast.Try) and node.finalbody and first < node.finalbody[0].lineno <= last:
            return True
    return False


def _is_fresh(writer: Writer) -> bool:
    """Is the field set to what is computed without its former value?"""
    return uses_former(writer.spot, writer.field) is False


def _is_given(scale: Scale) -> bool:
    """Is it alpha / rank times one number that is chosen?"""
    rest = Scale(scale.coefficient, tuple(i for i in scale.powers if i[0].role in STRENGTHS))
    return trained_part(scale).by_role() == TRAINED and only_symbol(rest) is not None


def _below(scale: Scale) -> object:
    found = powers_of(scale)
    return found.below if found.alpha == 1 else None


def _knows(function: FunctionInfo) -> bool:
    return speaks_of_rslora(function.file.text(function.node))
