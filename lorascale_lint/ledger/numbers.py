"""Values of the ledger as scales, and what a scale is of."""

from __future__ import annotations

from lorascale_lint.knowledge.roles import NUMBERS, role_of
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Number, Place, Value


def scale_of(value: Value) -> Scale | None:
    """The scale of a number, of a named one too; None for what is no number."""
    if isinstance(value, Number):
        return value.scale
    if isinstance(value, Place) and value.role in NUMBERS:
        return Scale.of(value.role or "", value.path)
    return None


def only_symbol(scale: Scale) -> Symbol | None:
    """The symbol that the scale is, if it is one to the power one."""
    if scale.coefficient == 1 and len(scale.powers) == 1 and scale.powers[0][1] == 1:
        return scale.powers[0][0]
    return None


def named_outright(symbol: Symbol) -> bool:
    """Does the name alone, without LoRA code around it, give the symbol its role (``lora_alpha``)?"""
    return role_of(symbol.origin.rpartition(".")[2], False) == symbol.role
