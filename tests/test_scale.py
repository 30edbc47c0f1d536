"""The algebra of scales, and the strength error that is computed from it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from lorascale_lint.effect import effect_of
from lorascale_lint.model.scale import (
    ALPHA,
    ONE,
    RANK,
    SCALING,
    STRENGTH,
    TRAINED,
    TRAINED_RS,
    UNKNOWN,
    Scale,
)

fractions = st.fractions(min_value=-4, max_value=4, max_denominator=4)
coefficients = fractions.filter(bool)
monomials = st.builds(
    lambda coefficient, powers: _product(coefficient, powers),
    coefficients,
    st.lists(st.tuples(st.sampled_from([ALPHA, RANK, SCALING, STRENGTH]), fractions), max_size=5),
)
scales = st.one_of(monomials, st.just(UNKNOWN))


def _product(coefficient: Fraction, powers: list[tuple[str, Fraction]]) -> Scale:
    scale = Scale(coefficient)
    for symbol, exponent in powers:
        scale = scale * Scale.of(symbol, exponent)
    return scale


@given(scales, scales, scales)
def test_multiplication_is_associative_and_commutative(a: Scale, b: Scale, c: Scale) -> None:
    assert (a * b) * c == a * (b * c)
    assert a * b == b * a
    assert hash(a * b) == hash(b * a)


@given(scales)
def test_one_is_neutral_and_unknown_absorbs(scale: Scale) -> None:
    assert scale * ONE == scale
    assert scale * UNKNOWN == UNKNOWN


@given(monomials)
def test_inverse_undoes(scale: Scale) -> None:
    assert scale * scale.inverse() == ONE
    assert scale.inverse().inverse() == scale


@given(monomials, st.integers(min_value=0, max_value=5))
def test_power_is_repeated_multiplication(scale: Scale, times: int) -> None:
    expected = ONE
    for _ in range(times):
        expected = expected * scale
    assert scale ** Fraction(times) == expected


@given(monomials.map(lambda scale: Scale(Fraction(1), scale.powers)), fractions, fractions)
def test_powers_add_up(scale: Scale, first: Fraction, second: Fraction) -> None:
    assert scale**first * scale**second == scale ** (first + second)


@given(monomials)
def test_powers_are_sorted_without_zeros(scale: Scale) -> None:
    assert list(scale.powers) == sorted(scale.powers)
    assert all(exponent for _, exponent in scale.powers)
    assert [scale.power(symbol) for symbol, _ in scale.powers] == [power for _, power in scale.powers]


@given(monomials, fractions)
def test_without_takes_out_one_symbol_only(scale: Scale, exponent: Fraction) -> None:
    more = scale * Scale.of(STRENGTH, exponent)
    assert more.without(STRENGTH) == scale.without(STRENGTH)
    assert more.without(STRENGTH).power(STRENGTH) == 0
    assert more.without(STRENGTH).power(ALPHA) == scale.power(ALPHA)


@pytest.mark.parametrize("exponent", [Fraction(1, 2), Fraction(-1, 2)])
def test_a_root_of_a_constant_is_unknown_and_not_rounded(exponent: Fraction) -> None:
    assert Scale(Fraction(2)) ** exponent == UNKNOWN
    assert ONE**exponent == ONE


def test_nothing_divides_by_zero() -> None:
    assert Scale(Fraction(0)).inverse() == UNKNOWN
    assert UNKNOWN.inverse() == UNKNOWN


@pytest.mark.parametrize(
    "scale",
    [TRAINED, TRAINED_RS, Scale.of(SCALING), TRAINED * Scale.of(STRENGTH), TRAINED * Scale.of(STRENGTH, -1)],
    ids=Scale.formula,
)
def test_trained(scale: Scale) -> None:
    assert scale.is_trained
    assert not scale.is_unscaled


@pytest.mark.parametrize(
    "scale",
    [
        Scale.of(ALPHA),
        Scale.of(RANK, -1),
        TRAINED * TRAINED,
        TRAINED.inverse(),
        TRAINED * Scale(Fraction(2)),
        TRAINED * Scale(Fraction(-1)),
        Scale(Fraction(2)),
        Scale(Fraction(0)),
        UNKNOWN,
    ],
    ids=Scale.formula,
)
def test_neither_trained_nor_unscaled(scale: Scale) -> None:
    assert not scale.is_trained
    assert not scale.is_unscaled


@pytest.mark.parametrize("scale", [ONE, Scale.of(STRENGTH), Scale.of(STRENGTH, 2)], ids=Scale.formula)
def test_unscaled(scale: Scale) -> None:
    assert scale.is_unscaled
    assert not scale.is_trained


@given(monomials)
def test_at_most_one_verdict(scale: Scale) -> None:
    assert not (scale.is_trained and scale.is_unscaled)


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (ONE, "1"),
        (TRAINED, "alpha / rank"),
        (TRAINED_RS, "alpha / sqrt(rank)"),
        (TRAINED * Scale.of(STRENGTH), "alpha / rank * strength"),
        (Scale.of(STRENGTH), "strength"),
        (TRAINED.inverse(), "rank / alpha"),
        (Scale.of(RANK, -1), "1 / rank"),
        (Scale(Fraction(1, 2)) * TRAINED, "0.5 / rank * alpha"),
        (Scale(Fraction(-1)), "-1"),
        (Scale.of(ALPHA, 2), "alpha^2"),
        (UNKNOWN, "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formula(scale: Scale, text: str) -> None:
    assert scale.formula() == text


@given(monomials.filter(lambda scale: scale.coefficient > 0))
def test_formula_computes_the_scale(scale: Scale) -> None:
    names = {ALPHA: 3.0, RANK: 5.0, SCALING: 7.0, STRENGTH: 11.0, "sqrt": lambda value: value**0.5}
    text = scale.formula().replace("^", "**")
    for symbol, power in scale.powers:  # a fraction as an exponent needs brackets in Python
        text = text.replace(f"{symbol}**{abs(power)}", f"{symbol}**({abs(power)})")
    expected = float(scale.coefficient)
    for symbol, power in scale.powers:
        value = names[symbol]
        assert isinstance(value, float)
        expected *= value ** float(power)
    assert eval(text, {}, names) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (ONE, "effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128"),
        (TRAINED * TRAINED, "effective scale alpha^2 / rank^2 instead of alpha / rank: 2.00x too weak"),
        (Scale(Fraction(0)), "no effect at all instead of alpha / rank"),
    ],
    ids=["unscaled", "twice", "zero"],
)
def test_strength_error_is_said_in_words(scale: Scale, text: str) -> None:
    assert effect_of(scale).startswith(text)
