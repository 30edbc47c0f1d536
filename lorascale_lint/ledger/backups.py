"""Weights that an object keeps beside the layer, to put them back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.ledger.assigned import Written, written
from lorascale_lint.ledger.entries import Apply, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import NONE, Place, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Backup:
    """A field of ``cls`` keeps a weight; ``stores`` are those that do, ``put_back`` what restores from it."""

    cls: ClassInfo
    field: str
    weight: str
    stores: tuple[tuple[Store, Written], ...]
    put_back: tuple[tuple[Store, Written], ...]


def backups(ledger: Ledger) -> list[Backup]:
    """Fields that hold nothing but a weight, as it was named, moved or copied, and what puts it back."""
    return ledger.once(_backups)


def _backups(ledger: Ledger) -> list[Backup]:
    return list(_found(ledger))


def _found(ledger: Ledger) -> Iterator[Backup]:
    changed: dict[str, list[Store]] = {}
    for store in ledger.stores:
        name = changed_weight(store) if not store.spot.chain else None
        if name is not None:
            changed.setdefault(name, []).append(store)
    fields: dict[tuple[ClassInfo, str], list[Store]] = {}
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is not None and not store.spot.chain:
            fields.setdefault((store.owner.cls, store.field), []).append(store)
    for (cls, field), stores in fields.items():
        weights = {weight for store in stores if (weight := weight_of(store.value)) is not None}
        set_to = [store for store in stores if weight_of(store.value) is not None]
        sources = [(store, source) for store in set_to if (source := written(store.spot)) is not None]
        if len(weights) != 1 or len(sources) != len(set_to) or not all(map(_is_none_or_weight, stores)):
            continue
        weight = weights.pop()
        back = [
            (store, source)
            for store in changed.get(weight, ())
            if (source := written(store.spot)) is not None and _is_field(source, field, store, cls)
        ]
        if back and field != "weight":
            yield Backup(cls, field, weight, tuple(sources), tuple(back))


def shared_backups(ledger: Ledger) -> Iterator[tuple[Backup, Apply]]:
    """Backups that are the weight itself, and a merge that changes it in place."""
    for backup in backups(ledger):
        if any(source.moves for _, source in backup.stores) or backup.stores[0][0].spot.file.is_test:
            continue
        for apply in ledger.applies:
            same = apply.spot.cls is backup.cls and weight_of(apply.base) == backup.weight
            if apply.kind == "merge" and same and in_place(apply):
                yield backup, apply
                break


def uncopied(backup: Backup, merge: Apply) -> list[Spot]:
    """The saving, and the putting back too, unless each merge saves again or it copies anyway."""
    saved = [store.spot for store, _ in backup.stores]
    if any(spot.function is merge.spot.function for spot in saved):
        return saved
    back = [(store.spot, source) for store, source in backup.put_back]
    return saved + [s for s, source in back if not source.calls and not isinstance(s.node, ast.Call)]


def weight_of(value: Value | None) -> str | None:
    """By which name a base weight is known, where there is one; None for another value."""
    found = [option.value for option in options(value)] if value is not None else []
    names = {_name(option) for option in found if option != NONE}
    return names.pop() if len(names) == 1 else None


def changed_weight(store: Store) -> str | None:
    """The base weight whose content a store sets."""
    if store.field == "data":
        return weight_of(store.owner)
    if store.field != "weight":
        return None
    owner = "self" if isinstance(store.owner, Ref) else getattr(store.owner, "path", "?")
    return f"{owner}.weight"


def in_place(apply: Apply) -> bool:
    """Does the application change the memory of its base?"""
    match apply.spot.node:
        case ast.AugAssign(target=target):
            return isinstance(target, ast.Attribute) or isinstance(apply.base, Place)
        case ast.Call(func=ast.Attribute(attr=name)):
            return changes_receiver(name)
        case _:
            return False


def _name(value: Value) -> str | None:
    if isinstance(value, Place) and value.role == "base":
        return value.path.removesuffix(".data")
    if isinstance(value, Tensor) and value.kind == "base":
        return value.origin.removesuffix(".data")
    return None


def _is_none_or_weight(store: Store) -> bool:
    return all(option.value == NONE or _name(option.value) is not None for option in options(store.value))


def _is_field(source: Written, field: str, store: Store, cls: ClassInfo) -> bool:
    head, _, name = source.name.partition(".")
    function = store.spot.function
    if function is None or function.owner is None or name != field or function.parameters[:1] != [head]:
        return False
    return function.owner.methods.get(function.name) is function and cls in (function.owner, store.spot.cls)
