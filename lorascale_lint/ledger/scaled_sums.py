"""Sums of base and delta that are multiplied as a whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.families import family_of_class
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import named_outright
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.provenance.tensors import tensor
from lorascale_lint.provenance.values import Multiplied, Tensor


@immutable(frozen=True, slots=True, eq=False)
class ScaledSum:
    """An adapter's trained scale multiplies what an application gives: the base, and the delta with it."""

    step: Multiplied
    application: Application


def scaled_sums(ledger: Ledger) -> list[ScaledSum]:
    """Those whose base is known as one, one for each place."""
    return ledger.once(_scaled_sums)


def _scaled_sums(ledger: Ledger) -> list[ScaledSum]:
    found: dict[int, ScaledSum] = {}
    for step in ledger.multiplied:
        if not isinstance(step.before, Tensor) or step.before.kind != "adapted" or step.scale.unknowns():
            continue
        if step.before.variant == "dora" or step.before.scale.unknowns():
            continue  # what DoRA gives may be the difference from the base again
        application = next(iter(_sums(ledger, step)), None)
        if application is None or not _is_of_lora(ledger, step):
            continue
        base = None if application.base is None else tensor(application.base)
        forward = application.kind == "forward"  # GLoRA's `wb + W @ wa` adds no base to anything
        if base is not None and base.kind == "base" and forward == (base.space == "activation"):
            found.setdefault(id(step.spot.node), ScaledSum(step, application))
    return list(found.values())


def is_scaled_later(ledger: Ledger, application: Application) -> bool:
    """Is what the application gives multiplied as a whole, there or by a caller? It may have no base."""
    return any(
        isinstance(step.before, Tensor)
        and step.before.kind == "adapted"
        and bool(step.scale.powers)
        and not set(application.rows).isdisjoint(step.before.rows)
        and step.spot.file is application.spot.file
        for step in ledger.multiplied
    )


def _sums(ledger: Ledger, step: Multiplied) -> Iterator[Application]:
    """The sum inside the product, else the last one before it in the same function."""
    same = [item for item in applications(ledger) if item.spot.function is step.spot.function]
    inner = {id(node) for node in ast.walk(step.spot.node)}
    yield from (item for item in same if id(item.spot.node) in inner)
    before = [item for item in same if item.spot.row < step.spot.row]
    yield from reversed(before[-1:])


def _is_of_lora(ledger: Ledger, step: Multiplied) -> bool:
    """Is the scale an adapter's: made of alpha, called so, or what the class puts on the delta alone?

    Attention has a `self.scaling` too, which multiplies queries that have got their delta.
    """
    found = powers_of(step.scale)
    if not found.is_trained:
        return False
    symbols = {symbol for symbol, _ in step.scale.powers}
    if found.alpha or any(named_outright(symbol) for symbol in symbols):
        return True
    family = family_of_class(ledger, step.spot.cls)
    return family is not None and any(
        other.spot.cls in family.members
        and other.spot.function is not step.spot.function
        and getattr(other.before, "kind", "") in ("half", "delta")
        and not symbols.isdisjoint(symbol for symbol, _ in other.scale.powers)
        for other in ledger.multiplied
    )
