"""Classes that hold factors: who applies them, which numbers of them the class keeps, who sets both."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, RANK, SCALING, role_of, words
from lorascale_lint.ledger.applications import Application, applications, folds
from lorascale_lint.ledger.class_fields import Field, fields_kept
from lorascale_lint.ledger.conditions import lacks_number
from lorascale_lint.ledger.entries import Fold, Return
from lorascale_lint.ledger.factor_setters import Setter, setters
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import bare, scale_of, trained
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.switches import constant_flags
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Ref, Tensor, options


@dataclass(frozen=True, eq=False)
class Family:
    """A class that applies factors or is given them, and those of its classes above and below that do too."""

    root: ClassInfo
    members: tuple[ClassInfo, ...]
    holders: Mapping[Application, ClassInfo]
    """Applications of factors that an object of a class holds; else the class in which they stand."""
    fields: tuple[Field, ...]
    setters: tuple[Setter, ...]
    folds: tuple[Fold, ...]
    returns: tuple[Return, ...]

    @property
    def applications(self) -> list[Application]:
        """Where factors of the classes are used."""
        return list(self.holders)

    def field(self, role: str) -> Field | None:
        """The field that keeps a number in ``role``."""
        return next((field for field in self.fields if field.role == role), None)

    @property
    def scaling(self) -> Field | None:
        """The field that keeps the trained scale itself, by its name or by what is put there."""
        found = (
            f for f in self.fields if f.role not in (ALPHA, RANK) and (f.role == SCALING or f.is_trained)
        )
        return next(found, None)

    def names(self, ledger: Ledger) -> set[str]:
        """Every attribute that the classes define or set."""
        line = {*self.members, *ledger.lineage(self.root)}
        found = {name for cls in line for name in (*cls.methods, *cls.attributes, *cls.inner)}
        stored = (
            entry for entry in ledger.stores if isinstance(entry.owner, Ref) and entry.owner.cls in line
        )
        return found | {entry.field for entry in stored}

    @property
    def scaled_returns(self) -> Iterator[tuple[Spot, Guards, Scale]]:
        """Methods that give a delta back, when, and with which scale."""
        for given in self.returns:
            for option in options(given.value):
                if isinstance(option.value, Tensor) and option.value.kind == "delta":
                    yield given.spot, (*given.guards, *option.guards), option.value.scale

    @cached_property
    def is_understood(self) -> bool:
        """Is the scale of every application known?"""
        return not any(application.reasons for application in self.applications)

    @cached_property
    def scale_source(self) -> str | None:
        """The trained scale in the words of a method of the class: ``self.scaling``; None if it has none."""
        for given in self.returns:
            function = given.spot.function
            values = [scale_of(option.value) for option in options(given.value)]
            if (
                function is not None
                and function.has("property", "cached_property")
                and any(scale is not None and trained(scale) for scale in values)
            ):
                return f"self.{function.name}"
        scaling = self.scaling
        if scaling is None or scaling.unset_by is not None or any(k.how == "entry" for k in scaling.kept):
            return None
        return f"self.{scaling.name}" if scaling.kept else None


def is_bare(application: Application) -> bool:
    """Is the scale known on every branch, and nothing of alpha in it, though there may be one?"""
    if application.variant == "lokr" and not any(branch.layout for branch in application.branches):
        return False  # of two full matrices: no rank, no scale
    found = application.branches
    return all(bare(branch.scale) for branch in found) and not all(lacks_number(b.guards) for b in found)


@immutable(frozen=True, slots=True, eq=False)
class Sibling:
    """Another use of the same factors, with the trained scale; ``apart`` are conditions that only one has.

    ``other_mode``: one of them is a mode of the layer in which no use of the factors has a scale.
    """

    spot: Spot
    scale: Scale
    apart: tuple[str, ...]
    other_mode: bool = False

    @property
    def apart_by_scale(self) -> bool:
        """Is one of these conditions about the scale itself: ``alpha is None``, ``self.scaled``?"""
        parts = (part for name in self.apart for part in re.findall(r"[A-Za-z_]\w*", name))
        return any(role_of(part, True) in NUMBERS or _SCALED in words(part) for part in parts)


_SCALED = "scaled"


def opposed(left: Guards, right: Guards) -> Iterator[str]:
    """Conditions of which the two hold opposite branches."""
    return (name for name, holds in left if (name, not holds) in right)


def families(ledger: Ledger) -> list[Family]:
    """The families of classes that apply factors or are given them, in the order of files and rows."""
    return ledger.once(_families)


def family_of_class(ledger: Ledger, cls: ClassInfo | None) -> Family | None:
    """The family that a class is of."""
    return next((family for family in families(ledger) if cls in family.members), None)


def scaled_siblings(ledger: Ledger, family: Family, application: Application) -> Iterator[Sibling]:
    """Where the same factors have the trained scale, in one line of classes."""
    own = family.holders[application]
    paths = [
        (other.spot, branch.guards, branch.scale)
        for other, holder in family.holders.items()
        if other is not application and in_one_line(ledger, own, holder)
        for branch in other.branches
    ]
    returned = [path for path in family.scaled_returns if in_one_line(ledger, own, path[0].cls)]
    mode = _mode(ledger, family, application)
    names = {name for name, _ in mode}
    for spot, guards, scale in (*paths, *returned):
        if trained(scale):
            opposite = [opposed((*branch.guards, *mode), guards) for branch in application.branches]
            apart = tuple(name for found in opposite for name in found)
            yield Sibling(spot, scale, apart, not names.isdisjoint(apart))


def _mode(ledger: Ledger, family: Family, application: Application) -> Guards:
    """Flags under which the layer has no scale at all: those that the function sets, or that it asks.

    ``self.pissa = True`` beside ``weight -= B @ A``, where each forward of that mode is bare as well.
    """
    own = {guard for branch in application.branches for guard in branch.guards}
    found = scale_free_modes(ledger, family, but=application) & own
    if is_bare(application):
        found |= _flags_set(ledger, application) & _bare_under(family, application)
    return tuple(sorted(found))


def scale_free_modes(
    ledger: Ledger, family: Family, *, but: Application | None = None
) -> set[tuple[str, bool]]:
    """Flags of methods, other than that of ``but``, that take the bare product out of the weight first."""
    starts = (start for start in family.holders if start is not but and start.kind == "unmerge")
    return {flag for start in starts if is_bare(start) for flag in _flags_set(ledger, start)}


def _flags_set(ledger: Ledger, application: Application) -> set[tuple[str, bool]]:
    function = application.spot.function
    if function is None:
        return set()
    return {
        (f"self.{name}", value)
        for value, flags in ledger.once(_flags).items()
        for name in flags.get(function, ())
    }


def _flags(ledger: Ledger) -> dict[bool, dict[FunctionInfo, set[str]]]:
    return {value: constant_flags(ledger, value) for value in (True, False)}


def _bare_under(family: Family, start: Application) -> set[tuple[str, bool]]:
    return {
        guard
        for other in family.holders
        if other is not start
        for branch in other.branches
        if bare(branch.scale)
        for guard in branch.guards
    }


def is_folded(ledger: Ledger, family: Family) -> bool:
    """Is a factor multiplied and kept, in the classes or by code of their file that serves any layer?"""
    return bool(family.folds) or family.root.file.filename in ledger.once(_packers)


def keeps_fold(ledger: Ledger, family: Family) -> bool:
    """Is a factor put back where it was, times a number of LoRA code, and not only written into a file?"""
    kept = {(store.spot.function, store.spot.row) for store in ledger.stores}
    kept |= {(write.spot.function, write.spot.row) for write in ledger.writes if write.name}
    numbers = (fold for fold in family.folds if any(symbol.role for symbol, _ in fold.scale.powers))
    return any(
        isinstance(fold.spot.node, ast.AugAssign)
        or (
            isinstance(fold.spot.node, ast.Call)
            and changes_receiver(getattr(fold.spot.node.func, "attr", ""))
        )
        or (fold.spot.function, fold.spot.row) in kept
        for fold in numbers
    )


def _packers(ledger: Ledger) -> set[str]:
    return {fold.spot.file.filename for fold in folds(ledger)}


def is_read(ledger: Ledger, family: Family, name: str) -> bool:
    """Does any code of the files read a field of that name, of the family's objects or of unknown ones?"""
    readers = {("", name), *((cls.key, name) for cls in family.members)}
    return not readers.isdisjoint(ledger.fields_read) or ledger.read_elsewhere(name)


def in_one_line(ledger: Ledger, first: ClassInfo, second: ClassInfo | None) -> bool:
    """Is one of the classes the other, or does it inherit from it?"""
    return second is not None and (first in ledger.lineage(second) or second in ledger.lineage(first))


def runs(ledger: Ledger, cls: ClassInfo | None, path: Spot) -> bool:
    """Do objects of ``cls`` run the path of a class above, or is it overridden, or called by others only?"""
    function = path.function
    owner = function.owner if function is not None else None
    line = ledger.lineage(cls) if cls is not None else []
    if function is None or owner is None or owner is cls or owner not in line:
        return True
    own: dict[str, FunctionInfo] = {}
    for item in line:
        for name, info in item.methods.items():
            own.setdefault(name, info)
    if own.get(function.name) is not function:
        return False
    heirs = (item for family in families(ledger) for item in family.members if owner in ledger.lineage(item))
    callers = {
        info for item in (*line, *heirs) for info in item.methods.values() if _calls(info, function.name)
    }
    return not callers or any(own.get(info.name) is info for info in callers)


@lru_cache(maxsize=5_000)
def _calls(info: FunctionInfo, name: str) -> bool:
    nodes = (node.func for node in ast.walk(info.node) if isinstance(node, ast.Call))
    return any(isinstance(node, ast.Attribute) and node.attr == name for node in nodes)


def of_one_object(ledger: Ledger, family: Family, one: Application, other: Application) -> bool:
    """May one object take both ways? Classes beside each other, as heirs of a mixin, are other layers."""
    first, second = family.holders[one], family.holders[other]
    if not in_one_line(ledger, first, second):
        return False
    return runs(ledger, first, other.spot) and runs(ledger, second, one.spot)


def _families(ledger: Ledger) -> list[Family]:
    applied, given_both, makers = _by_class(ledger), setters(ledger), _makers(ledger)
    roots: dict[ClassInfo, list[ClassInfo]] = defaultdict(list)
    for cls in _classes(ledger):
        line = ledger.lineage(cls)
        related = [item for item in line if item in applied or item in given_both or item in makers]
        if related:
            roots[related[-1]].append(cls)
    found = [
        Family(
            root,
            tuple(members),
            {item: cls for cls in members for item in applied.get(cls, ())},
            tuple(fields_kept(ledger, root, members)),
            tuple(item for cls in members for item in given_both.get(cls, ())),
            tuple(fold for fold in ledger.folds if fold.spot.cls in members),
            tuple(given for given in ledger.returns if given.spot.cls in members and not given.spot.chain),
        )
        for root, members in roots.items()
    ]
    return sorted(found, key=lambda item: (item.root.file.filename, item.root.node.lineno))


def _classes(ledger: Ledger) -> list[ClassInfo]:
    """Every class whose code was looked at, or whose objects were; records of factors have no code."""
    records = [(item.spot.file, item.factors.rpartition(".")[0]) for item in applications(ledger)]
    found = {file.classes[name]: None for file, name in records if name in file.classes}
    for entries in (ledger.stores, ledger.applies, ledger.uses, ledger.returns):
        for spot in {entry.spot for entry in entries}:
            owner = None if spot.function is None else spot.function.owner
            found.update((cls, None) for cls in (spot.cls, owner) if cls is not None)
    return list(found)


def _by_class(ledger: Ledger) -> dict[ClassInfo, list[Application]]:
    """Applications by the class that holds the factors, or in whose body they stand."""
    named: dict[str, list[ClassInfo]] = defaultdict(list)
    for cls in _classes(ledger):
        named[cls.name].append(cls)
    found: dict[ClassInfo, list[Application]] = defaultdict(list)
    for application in applications(ledger):
        spot = application.spot
        owner = spot.cls if spot.function is None or spot.function.owner is None else spot.function.owner
        holders = named.get(application.factors.rpartition(".")[0], [])
        near = [cls for cls in holders if cls.file is spot.file] or holders
        if len(near) == 1 and (owner is None or owner not in ledger.lineage(near[0])):
            owner = near[0]
        if owner is not None:
            found[owner].append(application)
    return found


def _makers(ledger: Ledger) -> set[ClassInfo]:
    """Classes whose methods give a delta back."""
    return {
        given.spot.function.owner
        for given in ledger.returns
        if given.spot.function is not None
        and given.spot.function.owner is not None
        and any(getattr(option.value, "kind", "") == "delta" for option in options(given.value))
    }
