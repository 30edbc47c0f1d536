"""Layers that are made with an alpha which stays None outside one condition."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, role_of
from lorascale_lint.ledger.class_fields import Field, field_of
from lorascale_lint.ledger.entries import argument_of
from lorascale_lint.ledger.families import Family, families
from lorascale_lint.ledger.handed_factors import handed_factors
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo


@immutable(frozen=True, slots=True)
class UnsetAlpha:
    """A call that makes a layer of ``family`` with ``field``, at ``argument``, as alpha."""

    family: Family
    argument: Spot
    field: Field


def unset_alphas(ledger: Ledger) -> Iterator[UnsetAlpha]:
    """One for each argument."""
    for family in families(ledger):
        alpha = family.field(ALPHA)
        if alpha is None or alpha.unset_by is None:
            continue
        seen: set[ast.AST] = set()
        for owner, argument, name in _layer_calls(ledger, family):
            field = field_of(ledger, owner, name) if argument.node not in seen else None
            if field is not None and field.unset_by and field.conditional and _applies(ledger, family, owner):
                seen.add(argument.node)
                yield UnsetAlpha(family, argument, field)


def _layer_calls(ledger: Ledger, family: Family) -> Iterator[tuple[ClassInfo, Spot, str]]:
    """Calls that make a layer, or call what makes it, with a field of their own object as alpha."""
    makers: set[object] = set(family.members)
    for use in ledger.uses:
        function = use.spot.function
        if use.callee in family.members and function is not None and function.owner is None:
            makers.add(function)  # a factory such as `get_lora_layer`
    for use in ledger.uses:
        owner = use.spot.function.owner if use.spot.function is not None else None
        if use.callee in makers and owner is not None and owner not in family.members:
            for name in use.given:
                argument = argument_of(use, name) if role_of(name, True) == ALPHA else None
                match argument.node if argument is not None else None:
                    case ast.Attribute(value=ast.Name(id="self"), attr=field) if argument is not None:
                        yield owner, argument, field


def _applies(ledger: Ledger, family: Family, owner: ClassInfo) -> bool:
    """Does the class hand factors without their alpha to a setter, in a method of its own?"""
    line = ledger.lineage(owner)
    return any(
        (function := handed.use.spot.function) is not None and function.owner in line
        for setter in family.setters
        for handed in handed_factors(ledger, setter)
        if setter.alpha_parameter not in handed.use.given
    )
