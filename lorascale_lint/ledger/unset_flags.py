"""Merges that ask a flag whether the weight has their delta, and leave the flag as it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import SETS_BY_NAME
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.switches import asking_unmerges, constant_flags
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted
from lorascale_lint.provenance.values import Const


@immutable(frozen=True, slots=True, eq=False)
class UnsetFlag:
    """``merge`` runs where ``self.flag`` is off, and nothing switches it on; ``reader`` asks it as well."""

    merge: Apply
    flag: str
    reader: Apply


def unset_flags(ledger: Ledger) -> Iterator[UnsetFlag]:
    """One for each method that merges where a flag of its layer is off."""
    seen: set[FunctionInfo] = set()
    set_outside = {
        store.field for store in ledger.stores if store.value != Const(False) and store.spot.cls is None
    }
    for merge in ledger.applies:
        function, cls = merge.spot.function, merge.spot.cls
        if merge.kind != "merge" or function is None or cls is None or merge.spot.chain or function in seen:
            continue
        if function.owner is not cls or merge.spot.file.is_test:
            continue
        for atom, holds in merge.guards:
            owner, _, flag = atom.rpartition(".")
            if owner != "self" or holds or not flag.isidentifier() or flag in set_outside:
                continue
            reader = _reader(ledger, cls, function, flag)
            if reader is not None and not _is_set(ledger, cls, flag):
                seen.add(function)
                yield UnsetFlag(merge, flag, reader)
                break


def _reader(ledger: Ledger, cls: ClassInfo, merge: FunctionInfo, flag: str) -> Apply | None:
    """The unmerge of the class that does something only where the flag is on, and switches it off itself."""
    clears = ledger.once(_clears)
    return next(
        (
            apply
            for apply in asking_unmerges(ledger, cls, flag)
            if apply.spot.function is not None
            and apply.spot.function is not merge
            and flag in clears[apply.spot.function]
        ),
        None,
    )


def _clears(ledger: Ledger) -> dict[FunctionInfo, set[str]]:
    return constant_flags(ledger, False)


def _is_set(ledger: Ledger, cls: ClassInfo, flag: str) -> bool:
    """Does a method of the class, its bases or subclasses switch the flag on, or may it, by whatever name?"""
    if any(_switches_on(node, flag, "self") for node in ast.walk(cls.file.tree)):
        return True  # that of a layer which is walked to
    heirs = {s.spot.cls for s in ledger.stores if s.spot.cls is not None and s.field == flag}
    for one in (*ledger.lineage(cls), *(heir for heir in heirs if cls in ledger.lineage(heir))):
        for method in (*one.methods.values(), *one.setters.values()):
            if method.name == flag:
                return True  # a property: what it says is worked out
            if any(_switches_on(node, flag) for node in ast.walk(method.node)):
                return True
    return False


def _switches_on(node: ast.AST, flag: str, but_of: str = "") -> bool:
    """Is a field of that name set to something else than False, of another object than ``but_of``?"""
    match node:
        case ast.Assign(targets=targets, value=value):
            given = any(
                isinstance(part, ast.Attribute) and part.attr == flag and dotted(part.value) != but_of
                for target in targets
                for part in ast.walk(target)
            )
            return given and not _is_false(value)
        case ast.AnnAssign(target=ast.Attribute(attr=name, value=owner), value=value):
            return name == flag and dotted(owner) != but_of and not _is_false(value)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in SETS_BY_NAME:
            return any(isinstance(part, ast.Constant) and part.value == flag for part in ast.walk(node))
        case _:
            return False


def _is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False
