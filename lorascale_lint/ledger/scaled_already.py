"""Strengths of alpha / rank that are given to an adapter whose layers were made with the same alpha."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    ALPHA_OF_METADATA,
    ATTACHES,
    CONFIG_CLASSES,
    LOADS_FILES,
    OF_MODELS,
)
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.knowledge.speech import names_alpha_keys
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import number_origins, scale_of
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.strengths import GivenStrength, given_strengths
from lorascale_lint.provenance.values import Place, Value, options


@immutable(frozen=True, slots=True, eq=False)
class ScaledAlready:
    """``given`` is alpha / rank; the layers that it is for were made with this alpha at ``made``.

    None if the alpha is read from the model itself, or from metadata of the file, whose tensors state it too.
    """

    given: GivenStrength
    made: Spot | None


def scaled_already(ledger: Ledger) -> Iterator[ScaledAlready]:
    """Each once, in functions that make the adapter themselves and load none that has lost its alpha."""
    found: dict[Use, list[GivenStrength]] = defaultdict(list)
    for given in given_strengths(ledger):
        if _alpha_by_rank(given.value) and not given.spot.file.is_test:
            found[given.use].append(given)
    seen: set[tuple[str, int]] = set()
    for given in (given for several in found.values() for given in several):
        place = (given.spot.file.filename, given.spot.row)
        if _is_stated(_alpha_by_rank(given.value), given.spot) and place not in seen:
            seen.add(place)
            yield ScaledAlready(given, None)
    for look in looks(ledger, callees=True) if found else ():
        if any(use.called in LOADS_FILES for use in look.uses):
            continue  # what a file has lost is given back so
        for given in (given for use in look.uses for given in found.get(use, ())):
            made = _made_with(look, _alpha_by_rank(given.value))
            place = (given.spot.file.filename, given.spot.row)
            if made is not None and place not in seen:
                seen.add(place)
                yield ScaledAlready(given, made)


def _alpha_by_rank(value: Value) -> str:
    """The origin of alpha if the value is alpha / rank and nothing else."""
    scale = scale_of(value)
    if scale is None or scale.coefficient != 1 or len(scale.powers) != 2:
        return ""
    roles = {(symbol.role, power): symbol.origin for symbol, power in scale.powers}
    divided = {(RANK, Fraction(-1)), (RANK, Fraction(-1, 2))} & roles.keys()
    return roles.get((ALPHA, Fraction(1)), "") if divided else ""


def _is_stated(alpha: str, spot: Spot) -> bool:
    """Does what applies the adapter know this alpha by itself?

    Who looks at the keys of alphas may ask whether the file has lost them.
    """
    asks = names_alpha_keys(spot.file.source)
    return f"{OF_MODELS}[" in alpha or (alpha.endswith(ALPHA_OF_METADATA) and not asks)


def _made_with(look: Look, alpha: str) -> Spot | None:
    """Where a model gets an adapter whose configuration has this alpha."""
    owner = owner_of(alpha)
    told = [use for use in look.uses if use.called in CONFIG_CLASSES and alpha in _alphas(use)]
    for use in look.uses:
        given = {o.value.path for v in use.given.values() for o in options(v) if isinstance(o.value, Place)}
        if use.called in ATTACHES and owner and (owner in given or (told and "LoraConfig()" in given)):
            return use.spot
    return None


def _alphas(use: Use) -> set[str]:
    values = [value for name, value in use.given.items() if role_of(name, True) == ALPHA]
    return {origin for value in values for origin in number_origins(value)}
