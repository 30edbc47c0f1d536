"""Classes that hold factors: who applies them, which numbers of them the class keeps, who sets both."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from lorascale_lint.knowledge.roles import ALPHA, GATE, NUMBERS, RANK, SCALING, STRENGTH, A, B, role_of, words
from lorascale_lint.ledger.applications import Application, applications, folds
from lorascale_lint.ledger.configurations import is_configuration
from lorascale_lint.ledger.entries import Fold, Return, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.switches import constant_flags
from lorascale_lint.linking.program import ClassInfo, FunctionInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import NONE, Guards, Place, Ref, Tensor, Value, options

CONSTRUCTORS = ("__init__", "__post_init__", "build", "setup")
"""Methods that belong to making an object."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A number that is put into a field of an object: where, and what it may be there."""

    spot: Spot
    value: Value
    guards: Guards
    how: str
    """``declared`` in the class body, ``made`` by a constructor, ``set`` by another method or from outside,
    ``entry`` of a dictionary in the field."""

    @property
    def may_be_none(self) -> bool:
        """Is None among the values?"""
        return any(option.value == NONE for option in options(self.value))

    @property
    def scales(self) -> list[Scale]:
        """What it is where it is a number."""
        found = (scale_of(option.value) for option in options(self.value))
        return [scale for scale in found if scale is not None]

    @property
    def conditions(self) -> Guards:
        """Conditions under which it is put there, but for questions whether it is None."""
        return tuple(atom for atom in self.guards if " is None" not in atom[0])


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field of a class that keeps alpha, rank, the trained scale or a strength."""

    cls: ClassInfo
    name: str
    role: str
    kept: tuple[Kept, ...]

    @property
    def unset_by(self) -> Kept | None:
        """What leaves it None when the object is made, if no other code sets it in any case."""
        unset = next((k for k in self.kept if k.may_be_none and k.how in ("declared", "made")), None)
        may_stay = {k.spot.node for k in self.kept if k.may_be_none}
        repaired = any(
            k.spot.node not in may_stay and not k.conditions and k.how != "declared" for k in self.kept
        )
        return None if repaired else unset

    @property
    def conditional(self) -> list[Kept]:
        """What sets it under a condition only."""
        return [k for k in self.kept if k.conditions and not k.may_be_none]

    @property
    def is_constant(self) -> bool:
        """Is nothing but literals put there, or dictionaries that stay empty?"""
        return all(scale.constant is not None for k in self.kept for scale in k.scales)

    @property
    def is_trained(self) -> bool:
        """Does some code put a trained scale, or a part of one, there?"""
        return any(trained(scale) for k in self.kept for scale in k.scales)


@dataclass(frozen=True, slots=True, eq=False)
class Setter:
    """A method that is given both factors and keeps them."""

    function: FunctionInfo
    factors: dict[str, Store]

    def parameter(self, side: str) -> str | None:
        """The parameter that gives the factor of a side."""
        for option in options(self.factors[side].value):
            path = getattr(option.value, "path", "") or getattr(option.value, "origin", "")
            name = path.partition(".")[0].partition("[")[0]
            if name in self.function.parameters:
                return str(name)
        return None

    @property
    def alpha_parameter(self) -> str | None:
        """The parameter that takes alpha, or a whole scale."""
        roles = {name: role_of(name, True) for name in self.function.parameters}
        return next((name for name, role in roles.items() if role in (ALPHA, SCALING)), None)


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


def trained(scale: Scale) -> bool:
    """Is alpha, or a whole trained scale, in a scale that is known?"""
    return not scale.unknowns() and any(
        symbol.role in (ALPHA, SCALING) and power > 0 for symbol, power in scale.powers
    )


def bare(scale: Scale) -> bool:
    """Is a known scale 1, but for what the user or training chooses?"""
    return (
        not scale.unknowns()
        and scale.coefficient == 1
        and all(s.role == GATE or (s.role == STRENGTH and power == 1) for s, power in scale.powers)
    )


def is_bare(application: Application) -> bool:
    """Is the scale known on every branch, and nothing of alpha in it?"""
    if application.variant == "lokr" and not any(branch.layout for branch in application.branches):
        return False  # of two full matrices: no rank, no scale
    return all(bare(branch.scale) for branch in application.branches)


@dataclass(frozen=True, slots=True, eq=False)
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
    found: set[tuple[str, bool]] = set()
    for start in family.holders:
        flags = _flags_set(ledger, start) if is_bare(start) else set()
        if start is application:
            found |= flags & _bare_under(family, start)
        elif start.kind == "unmerge":
            found |= flags & own
    return tuple(sorted(found))


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
        or (isinstance(fold.spot.node, ast.Call) and ast.unparse(fold.spot.node.func).endswith("_"))
        or (fold.spot.function, fold.spot.row) in kept
        for fold in numbers
    )


def _packers(ledger: Ledger) -> set[str]:
    return {fold.spot.file.filename for fold in folds(ledger)}


def is_read(ledger: Ledger, family: Family, name: str) -> bool:
    """Does any code of the files read a field of that name, of the family's objects or of unknown ones?"""
    readers = {("", name), *((cls.name, name) for cls in family.members)}
    return not readers.isdisjoint(ledger.fields_read) or ledger.read_elsewhere(name)


def in_one_line(ledger: Ledger, first: ClassInfo, second: ClassInfo | None) -> bool:
    """Is one of the classes the other, or does it inherit from it?"""
    return second is not None and (first in ledger.lineage(second) or second in ledger.lineage(first))


def field_of(ledger: Ledger, cls: ClassInfo, name: str) -> Field | None:
    """A field of any class that keeps a number of LoRA code."""
    return next((field for field in _fields(ledger, cls, [cls]) if field.name == name), None)


def _families(ledger: Ledger) -> list[Family]:
    applied, setters, makers = _by_class(ledger), _setters(ledger), _makers(ledger)
    roots: dict[ClassInfo, list[ClassInfo]] = defaultdict(list)
    for cls in _classes(ledger):
        line = ledger.lineage(cls)
        related = [item for item in line if item in applied or item in setters or item in makers]
        if related:
            roots[related[-1]].append(cls)
    found = [
        Family(
            root,
            tuple(members),
            {item: cls for cls in members for item in applied.get(cls, ())},
            tuple(_fields(ledger, root, members)),
            tuple(item for cls in members for item in setters.get(cls, ())),
            tuple(fold for fold in ledger.folds if fold.spot.cls in members),
            tuple(given for given in ledger.returns if given.spot.cls in members and not given.spot.chain),
        )
        for root, members in roots.items()
    ]
    return sorted(found, key=lambda item: (item.root.file.filename, item.root.node.lineno))


def _classes(ledger: Ledger) -> list[ClassInfo]:
    """Every class whose code was looked at, or whose objects were."""
    found: dict[ClassInfo, None] = {}
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


def _setters(ledger: Ledger) -> dict[ClassInfo, list[Setter]]:
    stored: dict[FunctionInfo, dict[str, Store]] = defaultdict(dict)
    for entry in ledger.stores:
        function = entry.spot.function
        if function is None or function.owner is None or function.name in CONSTRUCTORS or entry.spot.chain:
            continue
        side = _side(entry)
        if side is not None:
            stored[function][side] = entry
    found: dict[ClassInfo, list[Setter]] = defaultdict(list)
    for function, factors in stored.items():
        if set(factors) == {A, B} and function.owner is not None:
            found[function.owner].append(Setter(function, factors))
    return found


def _side(entry: Store) -> str | None:
    """The side of a factor that is kept, as a parameter gave it: in its field, or in the data of one."""
    owner = entry.owner
    side = role_of(entry.field, True) if isinstance(owner, Ref) else getattr(owner, "kind", None)
    side = getattr(owner, "role", None) if isinstance(owner, Place) else side
    given = [option.value for option in options(entry.value)]
    names = () if entry.spot.function is None else entry.spot.function.parameters
    from_parameter = any(
        (isinstance(value, Place) and value.path.partition(".")[0].partition("[")[0] in names)
        or (isinstance(value, Tensor) and value.origin.partition(".")[0].partition("[")[0] in names)
        for value in given
    )
    return side if side in (A, B) and from_parameter else None


def _fields(ledger: Ledger, root: ClassInfo, members: list[ClassInfo]) -> Iterator[Field]:
    """Numbers that the classes, or those that they inherit from, keep under a name."""
    line = {*members, *ledger.lineage(root)}
    kept: dict[str, list[Kept]] = defaultdict(list)
    for default in ledger.defaults:
        if default.how == "field" and default.spot.cls in line:
            kept[default.name].append(Kept(default.spot, default.value, (), "declared"))
    for entry in ledger.stores:
        own = isinstance(entry.owner, Ref) and entry.owner.cls in line
        if own and _role(entry.field, entry.value) is not None:
            function = entry.spot.function
            made = function is not None and function.name in CONSTRUCTORS and function.owner in line
            how = "made" if made else "set"
            kept[entry.field].append(Kept(entry.spot, entry.value, entry.guards, how))
    for write in ledger.writes:
        if write.name and write.spot.cls in line and _role(write.name, write.value) is not None:
            kept[write.name].append(Kept(write.spot, write.value, write.guards, "entry"))
    for entry in ledger.stores:
        if isinstance(entry.owner, Place) and entry.field in kept and not is_configuration(entry.owner.path):
            kept[entry.field].append(Kept(entry.spot, entry.value, entry.guards, "set"))
    for name, found in kept.items():
        role = next((role for item in found if (role := _role(name, item.value)) is not None), None)
        if role is not None:
            yield Field(root, name, role, tuple(_best(found)))


def _role(name: str, value: Value) -> str | None:
    """What a field keeps: by its name, or where that says nothing by the numbers that are put there."""
    role = role_of(name, True)
    if role in NUMBERS:
        return role
    scales = [scale for option in options(value) if (scale := scale_of(option.value)) is not None]
    return SCALING if role is None and any(trained(scale) for scale in scales) else None


def _best(found: list[Kept]) -> list[Kept]:
    """One look for each place: that of callers in sight says more than names.

    The conditions are those of the function itself, and not those under which it is called.
    """
    places: dict[tuple[str, int, int, str], list[Kept]] = defaultdict(list)
    for item in found:
        column = getattr(item.spot.node, "col_offset", 0)
        places[item.spot.file.filename, item.spot.row, column, item.how].append(item)
    return [
        replace(item, guards=next((look.guards for look in looks if not look.spot.chain), item.guards))
        for looks in places.values()
        for item in ([look for look in looks if look.spot.chain] or looks[:1])
    ]
