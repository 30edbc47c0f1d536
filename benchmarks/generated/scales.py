"""Scales of the field, right and wrong ones: how each is written, and the formula that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Formula:
    """``coefficient * alpha ** a * rank ** r * strength ** s``."""

    coefficient: Fraction = Fraction(1)
    alpha: Fraction = Fraction(0)
    rank: Fraction = Fraction(0)
    strength: Fraction = Fraction(0)

    @staticmethod
    def of(
        alpha: Fraction | int | str = 0,
        rank: Fraction | int | str = 0,
        strength: Fraction | int = 0,
        coefficient: Fraction | int = 1,
    ) -> Formula:
        """The monomial with these exponents."""
        return Formula(Fraction(coefficient), Fraction(alpha), Fraction(rank), Fraction(strength))

    def __mul__(self, other: Formula) -> Formula:
        return Formula(
            self.coefficient * other.coefficient,
            self.alpha + other.alpha,
            self.rank + other.rank,
            self.strength + other.strength,
        )

    def value(self, alpha: float, rank: float, strength: float) -> float:
        """The number at one (alpha, rank, strength)."""
        powers = alpha ** float(self.alpha) * rank ** float(self.rank) * strength ** float(self.strength)
        return float(self.coefficient) * float(powers)

    def __str__(self) -> str:
        parts = [] if self.coefficient == 1 else [f"{float(self.coefficient):g}"]
        for name in ("strength", "alpha", "rank"):
            power = getattr(self, name)
            if power:
                parts.append(name if power == 1 else f"{name}^{power}")
        return " * ".join(parts) or "1"


ONE = Formula()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to run a program: what differs from the usual arguments, and the formula that then holds."""

    formula: Formula
    settings: Mapping[str, Any]
    required: bool = True
    """Must the engine report it? A branch for a missing alpha may go without saying."""
    runs: bool = True
    """False for a branch that no input reaches, as that for an alpha of None where the key must be there."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One spelling of the factor that alpha and rank make."""

    write: Callable[[str, str, str], str]
    """Expression from those of alpha, rank and the rsLoRA flag."""
    formula: Formula
    when_none: Formula | None = None
    """The formula where alpha is None, if the code provides for it."""
    when_rslora: Formula | None = None
    before: str = ""
    """A statement before, over the local name of alpha."""
    otherwise: tuple[str, Callable[[str, str], str], Callable[[str, str], str]] | None = None
    """As ``if`` and ``else``: the condition over ``{a}`` and ``{f}``, and both expressions."""
    needs: tuple[str, ...] = ("alpha", "rank")
    imports: tuple[str, ...] = ()

    def scenarios(self) -> list[Scenario]:
        """The usual one first."""
        found = [Scenario(self.formula, {})]
        if self.when_rslora is not None:
            found.append(Scenario(self.when_rslora, {"use_rslora": True}))
        if self.when_none is not None:
            found.append(Scenario(self.when_none, {"alpha": None}, required=False))
        return found


_PLAIN = Formula.of(1, -1)
_ROOT = Formula.of(1, -HALF)
_MATH = ("import math",)

TRAINED: dict[str, Trained] = {
    "alpha / r": Trained(lambda a, r, f: f"{a} / {r}", _PLAIN),
    "1 / r * alpha": Trained(lambda a, r, f: f"1.0 / {r} * {a}", _PLAIN),
    "alpha / float(r)": Trained(lambda a, r, f: f"float({a}) / float({r})", _PLAIN),
    "alpha / sqrt(r)": Trained(lambda a, r, f: f"{a} / math.sqrt({r})", _ROOT, imports=_MATH),
    "alpha / r ** 0.5": Trained(lambda a, r, f: f"{a} / {r} ** 0.5", _ROOT),
    "rsLoRA flag": Trained(
        lambda a, r, f: f"{a} / math.sqrt({r}) if {f} else {a} / {r}",
        _PLAIN,
        when_rslora=_ROOT,
        imports=_MATH,
    ),
    "alpha / r unless None": Trained(
        lambda a, r, f: f"{a} / {r} if {a} is not None else 1.0", _PLAIN, when_none=ONE
    ),
    "alpha / r if alpha": Trained(lambda a, r, f: f"{a} / {r} if {a} else 1.0", _PLAIN, when_none=ONE),
    "None means the rank": Trained(
        lambda a, r, f: f"({r} if {a} is None else {a}) / {r}", _PLAIN, when_none=ONE
    ),
    "alpha or rank": Trained(lambda a, r, f: f"({a} or {r}) / {r}", _PLAIN, when_none=ONE),
    "None set to the rank": Trained(
        lambda a, r, f: f"{a} / {r}", _PLAIN, when_none=ONE, before="if {a} is None:\n    {a} = {r}"
    ),
    "None set to the rank, truth": Trained(
        lambda a, r, f: f"{a} / {r}", _PLAIN, when_none=ONE, before="if not {a}:\n    {a} = {r}"
    ),
    "0 or None means the rank": Trained(
        lambda a, r, f: f"{a} / {r}",
        _PLAIN,
        when_none=ONE,
        before="{a} = {r} if {a} is None or {a} == 0 else {a}",
    ),
    "if alpha is not None": Trained(
        lambda a, r, f: f"{a} / {r} if {a} is not None else 1.0",
        _PLAIN,
        when_none=ONE,
        otherwise=("{a} is not None", lambda a, r: f"{a} / {r}", lambda a, r: "1.0"),
    ),
    "if use_rslora": Trained(
        lambda a, r, f: f"{a} / math.sqrt({r}) if {f} else {a} / {r}",
        _PLAIN,
        when_rslora=_ROOT,
        otherwise=("{f}", lambda a, r: f"{a} / math.sqrt({r})", lambda a, r: f"{a} / {r}"),
        imports=_MATH,
    ),
    "none": Trained(lambda a, r, f: "", ONE, needs=()),
    "alpha": Trained(lambda a, r, f: a, Formula.of(1), needs=("alpha",)),
    "1 / r": Trained(lambda a, r, f: f"1.0 / {r}", Formula.of(0, -1), needs=("rank",)),
    "alpha squared / r": Trained(lambda a, r, f: f"{a} * {a} / {r}", Formula.of(2, -1)),
    "alpha ** 2 / r ** 2": Trained(lambda a, r, f: f"({a} / {r}) ** 2", Formula.of(2, -2)),
    "int(alpha) / r": Trained(lambda a, r, f: f"int({a}) / {r}", _PLAIN),
    "2 * alpha / r": Trained(lambda a, r, f: f"2 * {a} / {r}", Formula.of(1, -1, coefficient=2)),
    "0.5": Trained(lambda a, r, f: "0.5", Formula.of(coefficient=HALF), needs=()),
    "rank / alpha": Trained(lambda a, r, f: f"{r} / {a}", Formula.of(-1, 1)),
}
