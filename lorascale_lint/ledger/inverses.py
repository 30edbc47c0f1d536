"""Merges and what is meant to take them back, by the weight that both change."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.inverses import stem, unmerges
from lorascale_lint.knowledge.operations import INITIALISERS
from lorascale_lint.knowledge.roles import MULTIPLIER, SCALING, STRENGTH, role_of
from lorascale_lint.ledger.backups import weight_of
from lorascale_lint.ledger.entries import Apply, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Const, Place, options

Pair = tuple[list[Apply], list[Apply]]
"""Merges and unmerges of one weight."""


def pairs(ledger: Ledger) -> Iterator[Pair]:
    """By class, or by file and the name without its `un` for functions of no class."""
    yield from ledger.once(_pairs)


def _pairs(ledger: Ledger) -> list[Pair]:
    groups: dict[object, Pair] = {}
    for apply in ledger.applies:
        place = _place(apply)
        if place is not None:
            merges, unmerges_ = groups.setdefault((place, _weight(apply)), ([], []))
            (unmerges_ if apply.kind == "unmerge" else merges).append(apply)
    return [pair for pair in groups.values() if all(pair)]


def added_again(ledger: Ledger) -> Iterator[tuple[Apply, Apply]]:
    """What a function called unmerge adds, and subtracts nothing, beside the merge that adds it."""
    subtracting = {apply.spot.function for apply in ledger.applies if apply.kind == "unmerge"}
    for again in ledger.applies:
        function = again.spot.function
        if again.kind != "merge" or function is None or function in subtracting or _place(again) is None:
            continue
        if not unmerges(function.name) or again.scale.unknowns() or again.spot.chain:
            continue
        for merge in ledger.applies:
            other = merge.spot.function
            if merge.kind == "merge" and other is not None and other is not function:
                known = weight_of(merge.base)
                same = _place(merge) == _place(again) and known == weight_of(again.base) is not None
                if same and stem(other.name) == stem(function.name):
                    yield again, merge
                    break


def added_both_ways(ledger: Ledger) -> Iterator[tuple[Apply, Apply]]:
    """Two merges into one weight of which one needs the flag that the other sets, and takes it down."""
    turned: dict[object, dict[bool, Apply]] = {}
    stores: dict[FunctionInfo | None, list[Store]] = defaultdict(list)
    for store in ledger.stores:
        if not store.spot.chain and isinstance(store.value, Const):
            stores[store.spot.function].append(store)
    for apply in ledger.applies:
        place = _place(apply)
        if (
            apply.kind == "merge"
            and place is not None
            and not apply.spot.chain
            and not apply.scale.unknowns()
        ):
            for flag, value in _turns(stores[apply.spot.function], apply):
                turned.setdefault((place, _weight(apply), flag), {}).setdefault(value, apply)
    for both in turned.values():
        if len(both) == len({apply.spot.node for apply in both.values()}) == 2:
            yield both[False], both[True]


def _turns(stores: list[Store], apply: Apply) -> Iterator[tuple[str, bool]]:
    """Flags of the object that the branch of the merge needs one way, and leaves the other way."""
    for store in stores:
        match store.value:
            case Const(value=bool() as value):
                needed = (f"self.{store.field}", not value)
                if needed in apply.guards and needed in store.guards:
                    yield store.field, value


def other_scales(ledger: Ledger) -> Iterator[tuple[Apply, Apply]]:
    """A merge and an unmerge of one weight, where the scale of the unmerge is that of no merge."""
    for merges, unmerges_ in pairs(ledger):
        known = not any(apply.scale.unknowns() for apply in (*merges, *unmerges_))
        for function in dict.fromkeys(apply.spot.function for apply in unmerges_):
            own = [apply for apply in unmerges_ if apply.spot.function is function]
            if known and not any(_undoes(ledger, u.scale, m.scale) for u in own for m in merges):
                yield merges[0], own[0]
                break


def other_layouts(ledger: Ledger) -> Iterator[tuple[Apply, Apply, Apply]]:
    """A merge and an unmerge of which one, named last, turns the delta and the other does not."""
    for merges, unmerges_ in pairs(ledger):
        put = {direction(apply) for apply in merges}
        for function in dict.fromkeys(apply.spot.function for apply in unmerges_):
            own = [apply for apply in unmerges_ if apply.spot.function is function]
            taken = {direction(apply) for apply in own}
            if None not in put | taken and not put & taken:
                yield merges[0], own[0], own[0] if "in_out" in taken else merges[0]
                break


def is_embedding(apply: Apply) -> bool:
    """Is it an embedding's weight, a row for each token, which the transpose of ``B @ A`` fits?"""
    cls = apply.spot.cls
    bases = [] if cls is None else [ast.unparse(base).rpartition(".")[2] for base in cls.node.bases]
    return "Embedding" in bases


def direction(apply: Apply) -> str | None:
    """Is ``B @ A`` added as it is (``out_in``) or turned; None where that is not known."""
    if apply.layout not in ("out_in", "in_out"):
        return None
    return apply.layout if not apply.transposed else {"out_in": "in_out", "in_out": "out_in"}[apply.layout]


def same_scale(left: Scale, right: Scale) -> bool:
    """Are the scales equal, where a stored scaling may be any trained scale?"""
    one, two = _plain(left), _plain(right)
    if one == two:
        return True
    stored = any(symbol.role == SCALING for scale in (one, two) for symbol, _ in scale.powers)
    return stored and trained(one) and trained(two) and _strength(one) == _strength(two)


def _undoes(ledger: Ledger, taken: Scale, put: Scale) -> bool:
    """Are the scales equal, also by what is kept as the scaling that one of them reads?"""
    if same_scale(taken, put):
        return True
    sides = ((taken, put), (put, taken))
    return any(_plain(kept) == _plain(other) for read, other in sides for kept in _as_kept(ledger, read))


def _as_kept(ledger: Ledger, scale: Scale) -> Iterator[Scale]:
    """The scale with each value that is kept under the name of its stored scaling in place of that.

    Under any name, if the scaling is read of one of several objects.
    """
    for symbol, power in scale.powers:
        if symbol.role != SCALING or power != 1:
            continue
        rest = scale * Scale.of(symbol.role, symbol.origin, -1)
        path = f".{symbol.origin}"
        for name, kept in ledger.once(_kept_scalings):
            if not symbol.origin or path.endswith(f".{name}") or f".{name}[" in path:
                yield rest * kept


def _kept_scalings(ledger: Ledger) -> list[tuple[str, Scale]]:
    """Numbers that fields, and entries of tables in fields, are set to, each with the name of the field."""
    kept = [(store.field, store.value) for store in ledger.stores]
    for write in ledger.writes:
        table = write.container
        name = table.path.rpartition(".")[2] if isinstance(table, Place) else write.name
        kept.append((name, write.value))
    return [
        (name, scale)
        for name, value in kept
        if role_of(name, True) == SCALING
        for option in options(value)
        if (scale := scale_of(option.value)) is not None
    ]


def _place(apply: Apply) -> object | None:
    function, cls = apply.spot.function, apply.spot.cls
    if apply.kind == "forward" or function is None or apply.spot.file.is_test:
        return None
    if _weight(apply) is None or function.name in INITIALISERS:
        return None  # PiSSA takes out of the weight what the first adapter puts in
    if cls is not None:
        return cls
    known = stem(function.name)
    return None if known is None else (apply.spot.file.filename, known)


def _weight(apply: Apply) -> str | None:
    """By which name the weight is known that a merge or an unmerge changes; also one without a role."""
    known = weight_of(apply.base)
    if known is None and isinstance(apply.base, Place) and apply.base.role is None:
        return apply.base.path.removesuffix(".data")
    return known


def _plain(scale: Scale) -> Scale:
    """The scale by roles, with a number called scale as a strength."""
    made = Scale(scale.coefficient)
    for symbol, power in scale.by_role().powers:
        role = STRENGTH if symbol.role == MULTIPLIER else symbol.role
        made = made * Scale.of(role, exponent=power)
    return made


def _strength(scale: Scale) -> object:
    return next((power for symbol, power in scale.powers if symbol.role == STRENGTH), 0)
