"""The formula of the map beside the one that was observed."""

from __future__ import annotations

import re
from enum import StrEnum

_FACTOR = re.compile(
    r"(?P<sign>^|\s*[*/]\s*)(?:sqrt\((?P<root>\w+)\)|(?P<name>-?[\w.]+))"
    r"(?:(?:\^|\*\*)\(?(?P<power>-?[\d./]+)\)?)?"
)
_CONDITION = re.compile(r"\s+(?:if|when|with|unless)\s.*")
# Numbers that were 1 while the formula was observed, or belong to the layer.
_LEFT_OUT = frozenset({"strength", "gate"})
# Numbers that stand for others: what was stored in them, or what the caller gave.
_STANDING = ("scaling", "multiplier")

Powers = tuple[tuple[str, float], ...]
Monomial = tuple[float, Powers]


class Agreement(StrEnum):
    """What map and number say to each other."""

    AGREE = "map agrees"
    DIFFER = "map differs"
    ONE_KNOWN = "map does not know"


def compare(mapped: str, observed: str, *, scale_given: bool = False) -> Agreement:
    """`mapped` may name several branches; the code has run one of them.

    `scale_given`: the code was given a whole scale, the trained one, where it takes a number that may be one.
    """
    found = _monomial(observed)
    branches = [_monomial(_CONDITION.sub("", branch.strip())) for branch in re.split(r"[|;]", mapped)]
    if found is None:
        return Agreement.ONE_KNOWN
    if any(branch is not None and found in _readings(branch, scale_given) for branch in branches):
        return Agreement.AGREE
    return Agreement.ONE_KNOWN if not mapped or None in branches else Agreement.DIFFER


def _readings(branch: Monomial, scale_given: bool) -> set[Monomial]:
    """What a branch equals when numbers that stand for others are replaced by these."""
    coefficient, powers = branch
    found: set[Powers] = {powers}
    for name in _STANDING:
        for known in tuple(found):
            told = dict(known)
            power = told.pop(name, 0.0)
            if not power:
                continue
            meant: list[dict[str, float]] = [{}, {"scaling": 1.0}]
            if name == "scaling" or scale_given:
                meant += [{"alpha": 1.0, "rank": -1.0}, {"alpha": 1.0, "rank": -0.5}]
            if name == "multiplier":
                # A plain number that is called alpha.
                meant.append({"alpha": 1.0})
            found |= {_times(told, instead, power) for instead in meant}
    return {(coefficient, item) for item in found}


def _times(powers: dict[str, float], more: dict[str, float], power: float) -> Powers:
    made = dict(powers)
    for name, own in more.items():
        made[name] = made.get(name, 0.0) + own * power
    return _sorted(made)


def _sorted(powers: dict[str, float]) -> Powers:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _monomial(text: str) -> Monomial | None:
    """None if it is no product of powers of known names."""
    coefficient, powers, position = 1.0, dict[str, float](), 0
    while position < len(text):
        factor = _FACTOR.match(text, position)
        if factor is None:
            return None
        position = factor.end()
        direction = -1.0 if "/" in factor["sign"] else 1.0
        name = factor["root"] or factor["name"]
        try:
            coefficient *= float(name) ** direction
            continue
        except ValueError:
            pass
        if name not in ("alpha", "rank", "scale", *_STANDING, *_LEFT_OUT):
            return None
        if name in _LEFT_OUT:
            continue
        power = 0.5 if factor["root"] else _number(factor["power"] or "1")
        name = "scaling" if name == "scale" else name
        powers[name] = powers.get(name, 0.0) + direction * power
    if not text.strip():
        return None
    return round(coefficient, 4), _sorted(powers)


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)
