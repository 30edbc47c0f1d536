"""Fields in which classes keep alpha, rank, the trained scale or a strength, and what puts them there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.roles import NUMBERS, SCALING, role_of
from lorascale_lint.ledger.configurations import is_configuration
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import speaks_of_none
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import NONE, Place, Ref, Value, options

CONSTRUCTORS = ("__init__", "__post_init__", "build", "setup")
"""Methods that belong to making an object."""


@immutable(frozen=True, slots=True, eq=False)
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
        return tuple(atom for atom in self.guards if not speaks_of_none(atom[0]))


@immutable(frozen=True, slots=True, eq=False)
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
    def was_replaced(self) -> bool:
        """Does a literal stand beside the formula that it replaces, which is a comment now?"""
        return any(replaces_comment(kept.spot, self.name) for kept in self.kept)

    @property
    def is_trained(self) -> bool:
        """Does some code put a trained scale, or a part of one, there?"""
        return any(trained(scale) for k in self.kept for scale in k.scales)


def replaces_comment(spot: Spot, name: str) -> bool:
    """Does an assignment to ``name`` that is a comment now stand above or below?"""
    lines, row = spot.file.lines, spot.row
    around = [line.strip() for line in (*lines[max(0, row - 2) : row - 1], *lines[row : row + 1])]
    former = (line.lstrip("# ").partition("=") for line in around if line.startswith("#"))
    return any(equals and target.strip().rpartition(".")[2] == name for target, equals, _ in former)


def field_of(ledger: Ledger, cls: ClassInfo, name: str) -> Field | None:
    """A field of any class that keeps a number of LoRA code."""
    return next((field for field in fields_kept(ledger, cls, [cls]) if field.name == name), None)


def fields_kept(ledger: Ledger, root: ClassInfo, members: list[ClassInfo]) -> Iterator[Field]:
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
