"""The formula of the map beside the one that was observed."""

from __future__ import annotations

import re
from enum import StrEnum

_FACTOR = re.compile(
    r"(?P<sign>^|\s*[*/]\s*)(?:sqrt\((?P<root>\w+)\)|(?P<name>[\w.]+))(?:(?:\^|\*\*)(?P<power>[\d./]+))?"
)
_CONDITION = re.compile(r"\s+(?:if|when|with|unless)\s.*")
# Numbers that were 1 while the formula was observed, or belong to the layer.
_LEFT_OUT = frozenset({"strength", "multiplier", "gate"})

Monomial = tuple[float, tuple[tuple[str, float], ...]]


class Agreement(StrEnum):
    """What map and number say to each other."""

    AGREE = "map agrees"
    DIFFER = "map differs"
    ONE_KNOWN = "map does not know"


def compare(mapped: str, observed: str) -> Agreement:
    """`mapped` may name several branches; the code has run one of them."""
    found = _monomial(observed)
    branches = [_monomial(_CONDITION.sub("", branch.strip())) for branch in re.split(r"[|;]", mapped)]
    if found is None:
        return Agreement.ONE_KNOWN
    if any(branch is not None and found in _readings(branch) for branch in branches):
        return Agreement.AGREE
    return Agreement.ONE_KNOWN if not mapped or None in branches else Agreement.DIFFER


def _readings(branch: Monomial) -> list[Monomial]:
    """What a branch equals when `scaling` stands for what was stored in it."""
    coefficient, powers = branch
    told = dict(powers)
    stored = told.pop("scaling", 0.0)
    if not stored:
        return [branch]
    found = [branch, (coefficient, tuple(sorted(told.items())))]
    for root in (1.0, 0.5):
        more = dict(told)
        more["alpha"] = more.get("alpha", 0.0) + stored
        more["rank"] = more.get("rank", 0.0) - stored * root
        found.append((coefficient, tuple(sorted((name, power) for name, power in more.items() if power))))
    return found


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
        if name not in ("alpha", "rank", "scaling", "scale", *_LEFT_OUT):
            return None
        if name in _LEFT_OUT:
            continue
        power = 0.5 if factor["root"] else _number(factor["power"] or "1")
        name = "scaling" if name == "scale" else name
        powers[name] = powers.get(name, 0.0) + direction * power
    if not text.strip():
        return None
    return round(coefficient, 4), tuple(sorted((name, power) for name, power in powers.items() if power))


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)
