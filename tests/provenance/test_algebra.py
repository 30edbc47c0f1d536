"""The laws of the algebra of scales."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, strategies as st

from lorascale_lint.knowledge.roles import ALPHA, DROPOUT, MULTIPLIER, RANK, SCALING, STRENGTH
from lorascale_lint.provenance.scale import ONE, Scale, Symbol, settled, undivided

ROLES = (ALPHA, RANK, SCALING, STRENGTH, MULTIPLIER)
fractions = st.fractions(-8, 8, max_denominator=4)
symbols = st.builds(Symbol, st.sampled_from(ROLES), st.sampled_from(["", "self.x", "0 of A <a>"]))
powers = st.dictionaries(symbols, fractions.filter(bool), max_size=4)
scales = st.builds(
    lambda number, held: Scale(number, tuple(sorted(held.items()))), fractions.filter(bool), powers
)


@given(scales, scales, scales)
def test_products_are_associative_and_commute(a: Scale, b: Scale, c: Scale) -> None:
    assert (a * b) * c == a * (b * c)
    assert a * b == b * a
    assert hash(a * b) == hash(b * a)


@given(scales)
def test_one_changes_nothing_and_an_inverse_takes_back(a: Scale) -> None:
    assert a * ONE == ONE * a == a
    inverse = a.inverse()
    assert inverse is not None
    assert a * inverse == ONE
    assert inverse.inverse() == a


@given(scales, st.integers(-3, 3), st.integers(-3, 3))
def test_powers_add_up_and_multiply(a: Scale, m: int, n: int) -> None:
    first, second, both, nested = (a.power(Fraction(k)) for k in (m, n, m + n, m * n))
    assert first is not None
    assert second is not None
    assert first * second == both
    assert first.power(Fraction(n)) == nested


@given(scales)
def test_powers_are_sorted_and_hold_no_zero(a: Scale) -> None:
    product = a * a
    assert product.powers == tuple(sorted(product.powers))
    assert all(exponent for _, exponent in product.powers)


@given(powers)
def test_the_root_of_a_square(held: dict[Symbol, Fraction]) -> None:
    scale = Scale(Fraction(1), tuple(sorted(held.items())))
    root = (scale * scale).power(Fraction(1, 2))
    assert root == scale


def test_what_has_no_inverse_or_root() -> None:
    assert Scale(Fraction(0)).inverse() is None
    assert Scale(Fraction(0)).power(Fraction(-1, 2)) is None
    assert Scale(Fraction(-2)).power(Fraction(1, 2)) is None
    assert Scale(Fraction(4)).power(Fraction(1, 2)) == Scale(Fraction(2))


@given(scales)
def test_a_formula_forgets_origins_only(a: Scale) -> None:
    assert a.by_role().formula() == a.formula() or a.unknowns()
    assert a.by_role().by_role() == a.by_role()


def test_an_alpha_over_another_does_not_cancel() -> None:
    scale = Scale.of(ALPHA, "a") * Scale.of(ALPHA, "b", -1) * Scale.of(STRENGTH, "s")
    assert scale.formula() == "unknown"
    assert (Scale.of(ALPHA, "a") * Scale.of(ALPHA, "a", -1)).formula() == "1"


def test_formulas() -> None:
    trained = Scale.of(ALPHA, "a") * Scale.of(RANK, "r", -1)
    assert trained.formula() == "alpha / rank"
    assert (trained * Scale.of(STRENGTH)).formula() == "alpha / rank * strength"
    assert (Scale.of(ALPHA) * Scale.of(RANK, exponent=Fraction(-1, 2))).formula() == "alpha / sqrt(rank)"
    assert (Scale(Fraction(2)) * Scale.of(RANK, exponent=-2)).formula() == "2 / rank^2"
    assert (trained * Scale.of("", "something")).formula() == "unknown"
    assert (trained * Scale.of("", "something")).unknowns() == ("something",)
    assert (trained * Scale.of(DROPOUT)).formula() == "alpha / rank"
    assert ONE.formula() == "1"
    assert Scale(Fraction(0)).formula() == "0"


def test_the_layout_tells_which_extent_is_the_rank() -> None:
    scale = Scale.of(RANK, "0 of A <lora_A>", -1)
    assert settled(scale, "out_in").formula() == "1 / rank"
    assert settled(scale, "in_out").formula() == "unknown"
    assert settled(scale, "") == scale


def test_an_undivided_parameter_alpha_whose_default_is_one_is_a_multiplier() -> None:
    assert undivided(Scale.of(ALPHA, "alpha=1")).formula() == "multiplier"
    assert undivided(Scale.of(ALPHA, "lora_alpha")).formula() == "alpha"
    divided = Scale.of(ALPHA, "alpha=1") * Scale.of(RANK, "r", -1)
    assert undivided(divided) == divided
    both = Scale.of(ALPHA, "alpha=1") * Scale.of(ALPHA, "file") * Scale.of(RANK, "r", -1)
    assert undivided(both).formula() == "alpha / rank * multiplier"
