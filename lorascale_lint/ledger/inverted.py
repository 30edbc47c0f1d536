"""Quotients rank / alpha that are a delta's scale."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, A, B, role_of
from lorascale_lint.ledger.kept_sides import folds_of_one_side
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.scale_stores import factor_fields, field_name, scale_stores
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of, tables
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Multiplied, Number, Tensor, Text, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Inverted:
    """A quotient of a rank and an alpha; ``used`` is where it becomes a scale."""

    rank: Multiplied
    alpha: Multiplied
    used: Spot
    text: str

    @property
    def spot(self) -> Spot:
        """Where the quotient stands."""
        return self.alpha.spot


def inverted(ledger: Ledger) -> list[Inverted]:
    """One for each quotient by which no code divides."""
    found: dict[int, Inverted] = {}
    for value, spot, text in _scales(ledger):
        for option in options(value):
            pair = _quotient(option.value)
            if pair is not None:
                found.setdefault(id(pair[1].spot.node), Inverted(*pair, spot, text))
    for step in ledger.multiplied:  # what is divided by is an inverse on purpose
        pair = _quotient(step.by) if powers_of(step.scale).alpha == 1 else None
        if pair is not None:
            found.pop(id(pair[1].spot.node), None)
    return list(found.values())


def is_inverted(scale: Scale) -> bool:
    """Is it rank / alpha, or its root over alpha, whatever is chosen beside it?"""
    found = powers_of(scale)
    return not scale.unknowns() and found.alpha == -1 and found.below in (-1, -HALF) and not found.scaling


def _scales(ledger: Ledger) -> Iterator[tuple[Value, Spot, str]]:
    """Numbers that are a delta's scale, by what is done with them or by the name that they are kept under."""
    for applied in ledger.applies:
        if is_inverted(applied.scale):
            yield from ((step.by, step.spot, _MEETS) for step in applied.steps if _is_known(step))
    for step in ledger.multiplied:
        before = step.before
        known = isinstance(before, Tensor) and before.kind in ("delta", "half")
        if known and is_inverted(before.scale * step.scale):  # type: ignore[attr-defined]
            yield step.by, step.spot, _MEETS
    for kept in folds_of_one_side(ledger):
        yield from ((step.by, step.spot, _MEETS) for step in kept.steps if is_inverted(kept.scale))
    for entry in scale_stores(ledger):
        yield entry.value, entry.spot, f"`{field_name(entry)}` is what deltas are multiplied by"
    for table in tables(ledger):
        roles = {key_role_of(write.key) for write in table.writes}
        for write in table.writes if {A, B} <= roles else ():
            if isinstance(write.key, Text) and role_of(write.key.literal or "", True) in _NAMES:
                yield write.value, write.spot, "it is kept as the scale beside both factors"
    holders = {cls for cls, sides in factor_fields(ledger).items() if sides == {A, B}}
    for given in ledger.returns:
        function = given.spot.function
        if function is not None and function.owner in holders and role_of(function.name, True) in _NAMES:
            yield given.value, given.spot, f"`{function.name}` gives the scale"


_NAMES = (SCALING, MULTIPLIER)
_MEETS = "a delta is multiplied by it"


def _is_known(step: Multiplied) -> bool:
    return not (isinstance(step.before, Tensor) and step.before.kind == "data")


def _quotient(value: Value) -> tuple[Multiplied, Multiplied] | None:
    """The rank and the alpha of the quotient in which ``value`` was made."""
    if not isinstance(value, Number | Tensor) or not is_inverted(value.scale):
        return None
    for step in value.steps:
        inner = _quotient(step.by)
        if inner is not None:
            return inner
    above = next((step for step in value.steps if _only(step.scale, RANK) > 0), None)
    below = next((step for step in value.steps if _only(step.scale, ALPHA) < 0), None)
    same = above is not None and below is not None and above.spot.node is below.spot.node
    return (above, below) if same and above is not None and below is not None else None


def _only(scale: Scale, role: str) -> int:
    """The sign of the one power in ``scale``, if that is one of ``role``."""
    if len(scale.powers) != 1 or scale.powers[0][0].role != role:
        return 0
    return 1 if scale.powers[0][1] > 0 else -1
