"""Formulas of labels against those of the map."""

from __future__ import annotations

from fractions import Fraction

import formulas
import pytest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alpha / rank", "alpha/rank"),
        ("alpha / rank * strength", "strength*alpha/rank"),
        ("alpha / sqrt(rank)", "alpha/rank^1/2"),
        ("2 * alpha / rank^3/2", "2*alpha/sqrt(rank)^3"),
        ("multiplier * alpha / rank", "strength*alpha/rank"),
        ("multiplier * strength", "strength"),
        ("-1", "-1.0"),
        ("rank / rank", "1"),
    ],
)
def test_equal(one: str, other: str) -> None:
    assert formulas.parse(one) == formulas.parse(other) is not None


@pytest.mark.parametrize(
    "text", ["", "alpha +", "(alpha / rank) * k", "alpha rank", "* alpha", "1 / 0", "alpha/(1-p)"]
)
def test_not_a_product(text: str) -> None:
    assert formulas.parse(text) is None


def test_coefficient_and_powers() -> None:
    branch = formulas.parse("0.5 * alpha^2 / rank")
    assert branch is not None
    assert branch.coefficient == Fraction(1, 2)
    assert branch.powers == {("alpha", Fraction(2)), ("rank", Fraction(-1))}


def test_conditions_of_labels_are_left_out() -> None:
    found = formulas.wanted_branches("alpha/rank | strength if alpha is None | parameter gate_scale")
    assert found == [formulas.parse("alpha / rank"), formulas.parse("strength"), "parameter"]


def test_alternatives_of_reports() -> None:
    known, unknown = formulas.reported_branches("alpha / rank if scaled else 1 | unknown")
    assert known == [formulas.parse("alpha / rank"), formulas.parse("1")]
    assert unknown
    assert formulas.reported_branches("restores the weight saved in `base`") == ([], False)


@pytest.mark.parametrize(
    ("scale", "reported", "verdict"),
    [
        ("alpha/rank", ["alpha / rank"], "right"),
        ("alpha/rank", ["scaling"], "right"),
        ("alpha/sqrt(rank)", ["scaling"], "right"),
        ("alpha/rank", ["strength * alpha / rank"], "wrong"),
        ("alpha/rank", ["alpha / rank | unknown"], "partly"),
        ("alpha/rank", ["unknown"], "unknown"),
        ("alpha/rank", ["1", "alpha / rank"], "right"),
        ("alpha/rank", [], "missed"),
        ("gate*alpha/rank", ["alpha / rank"], "right"),
        ("strength*alpha/rank | strength if alpha is None", ["strength"], "partly"),
        ("strength*alpha/rank | strength if alpha is None", ["strength * alpha / rank | strength"], "right"),
        ("strength*alpha/rank | (strength*alpha/rank)*k", ["strength * alpha / rank | unknown"], "right"),
        ("parameter scale", ["multiplier"], "right"),
        ("parameter scale", ["1"], "wrong"),
    ],
)  # fmt: skip
def test_verdicts(scale: str, reported: list[str], verdict: str) -> None:
    assert formulas.judge(scale, "", (), reported) == verdict


def test_a_resolved_parameter_is_as_good() -> None:
    assert formulas.judge("parameter s", "alpha/rank", (), ["alpha / rank"]) == "right"
    assert formulas.judge("strength", "", ("alpha",), ["alpha"]) == "right"
