"""Right layers of random spelling are never blamed, and a scale that is turned over is always found."""

from __future__ import annotations

import harness_trials
import pytest

pytest.importorskip("torch")


@pytest.mark.parametrize("number", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_right_layers_are_not_blamed_and_wrong_ones_are(number: int) -> None:
    counts, blamed = harness_trials.trials(number)
    assert not blamed
    assert counts["run"] == counts["layers"] == counts["turned over, found"] == number
