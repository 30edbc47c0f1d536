"""Weights whose rows DoRA brings to a magnitude: which norm divides them, what was multiplied on before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_dora
from lorascale_lint.knowledge.roles import ALPHA, MAGNITUDE, RANK, SCALING
from lorascale_lint.ledger.entries import Norm
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import Multiplied, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class Renormed:
    """Base and delta, multiplied by a magnitude and divided by ``norm``, at ``spot``."""

    spot: Spot
    norm: Norm
    adapted: Tensor

    @property
    def summed(self) -> Spot:
        """Where base and delta met, or the place itself where that is out of sight."""
        return self.adapted.summed or self.spot

    @property
    def normed(self) -> Tensor:
        """What the norm is of; this way to the sum where several share a norm, and another is not known."""
        of, here = self.norm.value, self.adapted
        if of.summed is None or here.summed is None or of.summed.node is not here.summed.node:
            return of
        return here if of.scale.unknowns() else of


def renormed(ledger: Ledger) -> Iterator[Renormed]:
    """Each place where a magnitude and a norm meet on base and delta, or on their way there."""
    for entry in ledger.rescales:
        function = entry.spot.function
        if entry.norm is None or entry.spot.file.is_test:
            continue
        if function is not None and not _is_dora(function):
            continue
        adapted = entry.value if entry.value.kind == "adapted" else entry.norm.value
        if adapted.kind == "adapted":
            yield Renormed(entry.spot, entry.norm, adapted)


def norm_lacks_scale(found: Renormed) -> bool:
    """Is the norm that of a sum with the bare delta, where the one that it divides has the trained scale?"""
    normed = found.normed
    trained = powers_of(found.adapted.scale).is_trained and not found.adapted.scale.unknowns()
    return found.norm.how == "norm" and trained and normed.kind == "adapted" and normed.scale == ONE


@lru_cache(maxsize=512)
def _is_dora(function: FunctionInfo) -> bool:
    return speaks_of_dora(function.file.text(function.node) + function.qualname)


def step_with(value: Tensor, *roles: str) -> Multiplied | None:
    """The multiplication that brought a number in one of the roles onto ``value``."""
    return next((step for step in value.steps if has_role(step.scale, *roles)), None)


def fixed_when_made(step: Multiplied, role: str) -> bool:
    """Is the number in that role part of the trained scale that a constructor keeps, as a block's weight is?

    Nobody chooses it at run time, and the layer is trained with it.
    """
    made = [inner for inner in getattr(step.by, "steps", ()) if has_role(inner.scale, role)]
    kept = [inner.spot.function for inner in made]
    return (
        bool(made)
        and has_role(step.scale, ALPHA, SCALING)
        and all(function is not None and function.name == "__init__" for function in kept)
    )


def has_role(scale: Scale, *roles: str) -> bool:
    """Is a number in one of the roles in the scale?"""
    return any(symbol.role in roles for symbol, _ in scale.powers)


def scaled_changes(ledger: Ledger) -> Iterator[tuple[Multiplied, Norm]]:
    """Multiplications of what is left of a renormed weight without its base by the trained scale."""
    for step in ledger.multiplied:
        change = step.before
        if not isinstance(change, Tensor) or change.kind != "delta" or change.length is None:
            continue
        norm = change.norm
        if norm is not None and norm.value.kind == "adapted" and has_role(step.scale, ALPHA, SCALING, RANK):
            yield step, norm


def statistics_of_magnitudes(ledger: Ledger) -> set[str]:
    """What the project makes its magnitudes as, where that is no norm: ``mean``."""
    return {
        start.norm.how
        for store in ledger.stores
        for option in options(store.value)
        if isinstance(option.value, Tensor) and option.value.kind == MAGNITUDE
        if (start := option.value.length) is not None and start.norm is not None
    }
