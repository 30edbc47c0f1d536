"""Right layers of random spelling are never blamed, and a scale that is turned over is always found."""

from __future__ import annotations

import harness_trials
import pytest

pytest.importorskip("torch")


def test_right_layers_are_not_blamed_and_wrong_ones_are() -> None:
    counts, blamed = harness_trials.trials(6)
    assert not blamed
    assert counts["run"] == counts["layers"] == counts["turned over, found"] == 6
