"""What names and literals mean by themselves, and which names leave a value as it is."""

from __future__ import annotations

from fractions import Fraction

from lorascale_lint.model.scale import STRENGTH, UNKNOWN, Scale
from lorascale_lint.model.values import UNKNOWN_VALUE, Factor, Nothing, Number, Value
from lorascale_lint.model.vocabulary import factor_side, number_role

KEEPS = frozenset(
    "to float half bfloat16 double cuda cpu npu type type_as contiguous detach clone data to_local "
    "full_tensor view reshape flatten squeeze unsqueeze expand requires_grad_ copy get item "
    "astype numpy resolve_conj weight default pin_memory chunk narrow index_select repeat "
    "repeat_interleave dequantize".split()
)
TRANSPOSES = frozenset("T mT t transpose permute swapaxes".split())


def constant(value: None | bool | int | float | str) -> Value:
    """The value of a literal."""
    if value is None:
        return Nothing()
    if isinstance(value, bool | str):
        return UNKNOWN_VALUE
    try:
        return Number(Scale(Fraction(str(value))))
    except ValueError:  # inf, nan
        return Number(UNKNOWN)


def by_name(name: str, context: bool) -> Value | None:
    """What a name says: a number of some role, a factor, or nothing."""
    role = number_role(name, context)
    if role is not None:
        return Number(Scale.of(role))
    side = factor_side(name, context)
    if side is not None:
        return Factor("A" if side == "A" else "B")
    return None


def is_computed(scale: Scale) -> bool:
    """Is this more than a bare role such as ``alpha`` (which a name says as well), 1 or a literal?"""
    return not scale.known or len(scale.powers) > 1 or scale.power(STRENGTH) != 0
