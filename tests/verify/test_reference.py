"""The numbers: fitting, hypotheses, verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from lorascale_lint.verify.reference import (
    TOLERANCES,
    fit,
    judge,
    relative_error,
    trained_scale,
    wrong_scales,
)
from lorascale_lint.verify.verdicts import Row, Verdict

TOLERANCE = TOLERANCES["float32"]


def product(seed: int, shape: tuple[int, int] = (20, 12), rank: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((shape[0], rank)) @ generator.standard_normal((rank, shape[1]))


def test_fit_reads_one_scale() -> None:
    found = fit(0.3 * product(1), [product(1)])
    assert found.scales[0] == pytest.approx(0.3, rel=1e-12)
    assert found.residual < 1e-12


def test_fit_separates_adapters_that_are_not_orthogonal() -> None:
    first, second = product(1), product(1) + 0.5 * product(2)
    found = fit(0.5 * first + 0.25 * second, [first, second])
    assert found.scales == pytest.approx((0.5, 0.25), rel=1e-9)


def test_fit_sees_what_points_elsewhere() -> None:
    assert fit(0.5 * product(1) + product(3), [product(1)]).residual > 0.3


def test_fit_of_something_infinite_is_no_number() -> None:
    change = product(1)
    change[0, 0] = np.nan
    found = fit(change, [product(1)])
    assert math.isnan(found.scales[0])
    assert judge(found.scales[0], 0.5, found.residual, TOLERANCE) is Verdict.ERROR


@pytest.mark.parametrize("products", [[], [np.zeros((20, 12))], [product(1).T]])
def test_fit_refuses_products_that_mean_nothing(products: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"product|shapes"):
        fit(product(1), products)


@pytest.mark.parametrize(
    ("alpha", "observed", "verdict"),
    [
        (4.0, 0.5, Verdict.OK),
        (4.0, 1.0, Verdict.ALPHA_IGNORED),
        (4.0, 0.25, Verdict.DOUBLE_SCALED),
        (4.0, 2.0, Verdict.INVERTED),
        (4.0, 4.0, Verdict.RANK_IGNORED),
        (4.0, 0.0, Verdict.NOT_APPLIED),
        (4.0, -0.5, Verdict.WRONG_SCALE),
        (4.0, 0.51, Verdict.WRONG_SCALE),
        (4.0, math.nan, Verdict.ERROR),
        (2.4, 0.25, Verdict.TRUNCATED),
        (2.4, 0.3, Verdict.OK),
        (8.0, 1.0, Verdict.AMBIGUOUS),
        (None, 1.0, Verdict.OK),
        (None, 0.0, Verdict.NOT_APPLIED),
        (None, 0.75, Verdict.WRONG_SCALE),
    ],
)
def test_mistakes_have_names(alpha: float | None, observed: float, verdict: Verdict) -> None:
    answer = judge(observed, trained_scale(alpha, 8), 0.0, TOLERANCE, hypotheses=wrong_scales(alpha, 8))
    assert answer is verdict


def test_a_stale_alpha_and_a_forgotten_strength_have_names() -> None:
    stale = wrong_scales(None, 4, 1.0, [(6.0, 8)])
    assert judge(1.5, 1.0, 0.0, TOLERANCE, hypotheses=stale) is Verdict.STALE_ALPHA
    strong = wrong_scales(6.0, 8, 0.5)
    assert judge(0.75, 0.375, 0.0, TOLERANCE, hypotheses=strong) is Verdict.STRENGTH_IGNORED


def test_the_right_scale_in_a_wrong_direction_is_not_ok() -> None:
    assert judge(0.5, 0.5, 0.2, TOLERANCE) is Verdict.WRONG_DIRECTION


def test_something_left_where_nothing_is_expected() -> None:
    assert judge(0.0, 0.0, 0.0, TOLERANCE) is Verdict.OK
    assert judge(1e-3, 0.0, 0.0, TOLERANCE) is Verdict.RESIDUAL_AFTER_UNMERGE
    assert judge(0.0, 0.0, 0.1, TOLERANCE, leftover=Verdict.RESIDUAL_AFTER_SWITCH) is (
        Verdict.RESIDUAL_AFTER_SWITCH
    )


alphas = st.one_of(st.none(), st.floats(0.1, 300, allow_nan=False))
ranks = st.integers(1, 256)
strengths = st.sampled_from([1.0, 0.5, 0.8, 2.0])
tolerances = st.sampled_from(sorted(TOLERANCES))


@given(alphas, ranks, strengths, tolerances)
def test_the_expected_scale_is_never_called_wrong(
    alpha: float | None, rank: int, strength: float, dtype: str
) -> None:
    expected = trained_scale(alpha, rank) * strength
    answer = judge(expected, expected, 0.0, TOLERANCES[dtype], hypotheses=wrong_scales(alpha, rank, strength))
    assert answer in (Verdict.OK, Verdict.AMBIGUOUS)


@given(alphas, ranks, strengths, tolerances, st.floats(-1e6, 1e6))
def test_ok_means_within_the_tolerance(
    alpha: float | None, rank: int, strength: float, dtype: str, observed: float
) -> None:
    tolerance = TOLERANCES[dtype]
    expected = trained_scale(alpha, rank) * strength
    answer = judge(observed, expected, 0.0, tolerance, hypotheses=wrong_scales(alpha, rank, strength))
    if answer is Verdict.OK:
        assert abs(observed - expected) <= tolerance.scale * max(expected, 0.1) * 1.001
    else:
        assert answer.is_failure or answer is Verdict.AMBIGUOUS


@given(alphas, ranks, strengths)
def test_every_mistake_is_told_from_the_expected_scale(
    alpha: float | None, rank: int, strength: float
) -> None:
    expected = trained_scale(alpha, rank) * strength
    hypotheses = wrong_scales(alpha, rank, strength)
    for hypothesis in hypotheses:
        assume(abs(hypothesis.scale - expected) > 1e-3 * max(expected, 0.01))
    for hypothesis in hypotheses:
        answer = judge(hypothesis.scale, expected, 0.0, TOLERANCE, hypotheses=hypotheses)
        # Two mistakes can give one number; then either name is right.
        same = {
            other.verdict
            for other in hypotheses
            if abs(other.scale - hypothesis.scale) < 1e-3 * (1 + other.scale)
        }
        assert answer in same


@given(st.floats(allow_nan=True), st.floats(0.01, 100))
def test_a_row_survives_json(observed: float, expected: float) -> None:
    error = relative_error(observed, expected)
    row = Row("s", "layer", "", "", expected, observed=observed, relative_error=error, shape=(3, 4))
    again = Row.from_dict(row.as_dict())
    assert again.shape == (3, 4)
    assert again.observed == (observed if math.isfinite(observed) else None)
