"""Applications at scale 1 where the code itself shows that a scale belongs there."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, A, B, role_of
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import made_at
from lorascale_lint.ledger.families import (
    Family,
    families,
    in_one_line,
    is_bare,
    is_folded,
    is_read,
    scaled_siblings,
)
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_alphas import left_alpha
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.ledger.scaled_sums import is_scaled_later
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Number, Tensor, options

Step = tuple[Spot, str]


@immutable(frozen=True, slots=True, eq=False)
class Unscaled:
    """An application without the trained scale, in a method of the class that holds the factors."""

    family: Family
    application: Application
    trace: list[Step]
    """Where the factors come from, and what shows that a scale belongs here."""


def unscaled(ledger: Ledger) -> list[Unscaled]:
    """Applications whose whole scale is known on each branch, and holds no trained scale."""
    return ledger.once(_unscaled)


def _unscaled(ledger: Ledger) -> list[Unscaled]:
    found = []
    for family in families(ledger):
        if is_folded(ledger, family):
            continue
        for application, holder in family.holders.items():
            own = in_one_line(ledger, holder, application.spot.cls)
            bare = (
                application.variant == "lora"
                and is_bare(application)
                and not is_scaled_later(ledger, application)
            )
            if (
                bare
                and not _is_scaled_alone(ledger, application)
                and not is_changed_elsewhere(ledger, application.spot)
            ):
                evidence = (
                    _evidence(ledger, family, application) if own else _beside(ledger, family, application)
                )
                if evidence is not None:
                    found.append(
                        Unscaled(
                            family, application, [*_factors(family), *made_at(ledger, application), evidence]
                        )
                    )
    return found


def _is_scaled_alone(ledger: Ledger, application: Application) -> bool:
    """Is it scaled where nothing is known of callers? One that gives no alpha shows a scale of 1."""
    return any(
        entry.spot.node is application.spot.node and trained(entry.scale)
        for entry in ledger.applies
        if not entry.spot.chain
    )


def _is_delta_or_number(value: object) -> bool:
    return isinstance(value, Number) or (isinstance(value, Tensor) and value.kind == "delta")


def is_changed_elsewhere(ledger: Ledger, spot: Spot) -> bool:
    """Does the method call one that a class below overrides?"""
    for use in ledger.uses:
        callee = use.callee
        if use.spot.function is not spot.function or not isinstance(callee, FunctionInfo):
            continue
        if not any(_is_delta_or_number(option.value) for option in options(use.result)):
            continue
        owner = callee.owner
        if owner is not None and any(
            callee.name in below.methods and below is not owner and owner in ledger.lineage(below)
            for below in owner.file.classes.values()
        ):
            return True
    return False


def _factors(family: Family) -> Iterator[Step]:
    for setter in family.setters[:1]:
        for side, store in sorted(setter.factors.items()):
            yield store.spot, f"factor {side} is set from a parameter, unscaled"


def _beside(ledger: Ledger, family: Family, application: Application) -> Step | None:
    """Another use of the factors, in the class that applies what an object of another class holds."""
    for sibling in scaled_siblings(ledger, family, application):
        same = sibling.spot.cls is application.spot.cls is not None
        if same and not sibling.apart_by_scale and not sibling.other_mode:
            return sibling.spot, f"`{sibling.spot.name}` applies the same delta at {sibling.scale.formula()}"
    return None


def _evidence(ledger: Ledger, family: Family, application: Application) -> Step | None:
    """A sibling that scales, or an alpha that the class keeps, takes or leaves in a configuration."""
    for sibling in scaled_siblings(ledger, family, application):
        if not sibling.apart_by_scale and not sibling.other_mode:
            text = f"`{sibling.spot.name}` applies the same delta at {sibling.scale.formula()}"
            return sibling.spot, text
    kept = family.scaling
    if not family.is_understood or (kept is not None and (not kept.is_constant or kept.was_replaced)):
        return None
    if _given_away(ledger, family):
        return None
    alpha = family.field(ALPHA)
    if alpha is not None and alpha.kept and not _reaches(ledger, application, alpha.name):
        return alpha.kept[0].spot, f"the class keeps `{alpha.name}`, and no application uses it"
    return _untouched(ledger, family) or _left(ledger, family, application)


def _reaches(ledger: Ledger, application: Application, field: str) -> bool:
    """Does the method read the field by a property or another method of the class, if only to find None?"""
    function, cls = application.spot.function, application.spot.cls
    if function is None or cls is None:
        return False
    if field in application.fixed_fields:
        return True  # it multiplies the delta, and is 1 by itself
    read = function.attributes_read
    methods = (m for own in ledger.lineage(cls) for name, m in own.methods.items() if name in read)
    return any(field in method.attributes_read for method in methods)


def _given_away(ledger: Ledger, family: Family) -> bool:
    """Do a factor and a trained scale go to one call out of sight: an initialisation, a kernel?"""
    for use in ledger.uses:
        if use.callee is None and use.spot.cls in family.members:
            given = [option.value for value in use.given.values() for option in options(value)]
            scales = (scale_of(value) for value in given)
            tensors = (value for value in given if isinstance(value, Tensor))
            if any(scale is not None and trained(scale) for scale in scales) and any(
                tensor.kind in (A, B, "fresh") for tensor in tensors
            ):
                return True
    return False


def _untouched(ledger: Ledger, family: Family) -> Step | None:
    """The alpha that a constructor takes beside the rank, and never mentions again."""
    for entry in ledger.unused:
        function = entry.spot.function
        if function is None or function.name != "__init__" or function.owner not in family.members:
            continue
        roles = {role_of(name, True) for name in function.parameters}
        if entry.role == ALPHA and RANK in roles and not is_read(ledger, family, entry.parameter):
            return entry.spot, f"the constructor takes `{entry.parameter}`, and nothing uses it"
    return None


def _left(ledger: Ledger, family: Family, application: Application) -> Step | None:
    """An alpha that is left in a configuration, where the base has no input of its own."""
    base = application.base
    if isinstance(base, Tensor) and base.origin.startswith("self."):
        return None  # what the delta is given may be scaled before
    return left_alpha(ledger, family)
