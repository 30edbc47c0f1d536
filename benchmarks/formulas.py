"""Formulas of scales, as labels write them and as `lorascale-lint map` prints them, and when they agree.

A formula is a choice of branches, ``alpha / rank | strength if alpha is None``. A branch is a coefficient and
powers of symbols. ``multiplier`` is read as a strength; a stored ``scaling`` agrees with alpha / rank and
alpha / sqrt(rank); a ``gate`` may be left out. What is no such product is a branch that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Verdict = Literal["right", "partly", "wrong", "unknown", "missed"]

_FACTOR = re.compile(
    r"\s*(?P<operator>[*/]?)\s*(?P<sign>-?)\s*"
    r"(?:sqrt\(\s*(?P<root>[A-Za-z_]\w*)\s*\)|(?P<symbol>[A-Za-z_]\w*)|(?P<number>\d+(?:\.\d+)?))"
    r"(?:\^\(?(?P<exponent>-?\d+(?:/2)?)\)?)?"
)
_CONDITION = re.compile(r"\s+(?:if|when|with|unless)\s")


@dataclass(frozen=True, slots=True)
class Branch:
    """``coefficient * product(symbol ** exponent)``; no exponent is zero."""

    coefficient: Fraction
    powers: frozenset[tuple[str, Fraction]]

    def without_gate(self) -> Branch:
        """The branch with what the layer learns taken out."""
        return Branch(self.coefficient, frozenset(pair for pair in self.powers if pair[0] != "gate"))

    def readings(self) -> set[Branch]:
        """The branch, and what it equals when ``scaling`` stands for what was stored in it."""
        found = {self, self.without_gate()}
        for branch in tuple(found):
            powers = dict(branch.powers)
            stored = powers.pop("scaling", None)
            if stored is None:
                continue
            for root in (Fraction(1), Fraction(1, 2)):
                more = dict(powers)
                more["alpha"] = more.get("alpha", Fraction(0)) + stored
                more["rank"] = more.get("rank", Fraction(0)) - stored * root
                found.add(_branch(branch.coefficient, more))
        return found

    @property
    def is_one_parameter(self) -> bool:
        """Is this a plain strength or a stored scaling: a number that the caller gives?"""
        names = [name for name, _ in self.without_gate().powers]
        return (
            self.coefficient == 1
            and names in (["strength"], ["scaling"])
            and all(power == 1 for _, power in self.without_gate().powers)
        )


PARAMETER = "parameter"
"""A branch of a label: the scale is a parameter, which the file alone does not explain."""

Wanted = Branch | Literal["parameter"] | None


def _branch(coefficient: Fraction, powers: dict[str, Fraction]) -> Branch:
    return Branch(coefficient, frozenset((name, power) for name, power in powers.items() if power))


def parse(text: str) -> Branch | None:
    """One branch; None if it is anything but a product of powers."""
    coefficient, powers, position = Fraction(1), dict[str, Fraction](), 0
    text = text.rstrip()
    while position < len(text) or not position:
        factor = _FACTOR.match(text, position)
        if factor is None or (position > 0) != bool(factor["operator"]):
            return None
        position = factor.end()
        sign = -1 if factor["operator"] == "/" else 1
        exponent = sign * Fraction(factor["exponent"] or 1)
        if factor["sign"]:
            coefficient = -coefficient
        if factor["number"]:
            if exponent.denominator != 1 or (exponent < 0 and not Fraction(factor["number"])):
                return None
            coefficient *= Fraction(factor["number"]) ** int(exponent)
            continue
        name = factor["root"] or factor["symbol"]
        powers[name] = powers.get(name, Fraction(0)) + exponent * (Fraction(1, 2) if factor["root"] else 1)
    multiplier = powers.pop("multiplier", Fraction(0))
    powers.setdefault("strength", multiplier)  # beside a strength: two numbers that the person gives
    return _branch(coefficient, powers)


def wanted_branches(formula: str) -> list[Wanted]:
    """The branches of a label's formula, the main one first; None for one that can't be written so."""
    branches: list[Wanted] = []
    for part in formula.split("|"):
        text = _CONDITION.split(part.strip(), maxsplit=1)[0].strip()
        if text.startswith(PARAMETER):
            branches.append("parameter")
        elif text:
            branches.append(parse(text))
    return branches


def reported_branches(formula: str) -> tuple[list[Branch], bool]:
    """The branches that a report knows, and whether it leaves one unknown."""
    if formula.startswith("restores"):  # an unmerge that puts the saved weight back
        return [], False
    read = [parse(text) for text in _alternatives(formula)]
    return [branch for branch in read if branch not in (None, _UNKNOWN)], any(
        branch in (None, _UNKNOWN) for branch in read
    )


_UNKNOWN = parse("unknown")


def _alternatives(formula: str) -> Iterator[str]:
    for part in formula.split(" | "):
        value, _, rest = part.partition(" if ")
        yield value
        if " else " in rest:
            yield rest.rsplit(" else ", 1)[1]


def agree(found: Branch, wanted: Wanted) -> bool:
    """Does a reported branch say what the label says?"""
    if wanted is None:
        return False
    if isinstance(wanted, str):
        return found.is_one_parameter
    return not found.readings().isdisjoint({wanted, wanted.without_gate()})


def judge(scale: str, resolved: str, also: Sequence[str], reported: Iterable[str]) -> Verdict:
    """What the best of the ``reported`` formulas is worth.

    ``scale`` is the label's formula, ``resolved`` the one with its parameter's value put in, ``also`` are
    branches that are as good as the main one. right: a main branch is reported, and nothing that the label
    excludes. wrong: a branch is reported that is none of the label's. partly: the main branch beside an
    unknown one, or others without it.
    """
    first, inside = wanted_branches(scale), wanted_branches(resolved)
    equals: list[Wanted] = [parse(text) for text in also]
    wanted = [*first, *inside, *equals]
    mains = [*first[:1], *inside[:1], *equals]
    verdicts: set[Verdict] = set()
    for formula in reported:
        known, unknown = reported_branches(formula)
        if not known:
            verdicts.add("unknown")
        elif not all(any(agree(found, branch) for branch in wanted) for found in known):
            verdicts.add("wrong")
        elif not any(agree(found, main) for found in known for main in mains):
            verdicts.add("partly")
        else:
            excused = None in wanted or PARAMETER in wanted[1:]
            verdicts.add("partly" if unknown and not excused else "right")
    order: tuple[Verdict, ...] = ("right", "partly", "wrong", "unknown")
    return next((verdict for verdict in order if verdict in verdicts), "missed")
