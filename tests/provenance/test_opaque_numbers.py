"""Numbers of which nobody knows what they mean until they get a name."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import formulas_of

BLEND = """
import sys


def merge(base, pairs, gain):
    for key, (down, up, alpha) in pairs.items():
        base[key] += {gain} * alpha / down.shape[0] * (up @ down)  # of a LoRA


def main(argv):
    strength = {given}
    merge(load(argv[0]), load_pairs(argv[2]), strength)


if __name__ == "__main__":
    main(sys.argv)
"""


@pytest.mark.parametrize(
    "given", ["float(argv[1])", "float(argv[1]) if len(argv) > 1 else 1.0", "abs(float(argv[1]))"]
)
@pytest.mark.parametrize(("gain", "power"), [("gain", "strength"), ("gain * gain", "strength^2")])
def test_a_number_of_the_command_line_is_what_its_name_says(given: str, gain: str, power: str) -> None:
    found = formulas_of(BLEND.format(gain=gain, given=given))
    assert any(f"alpha / rank * {power}" in formula for formula in found)


def test_a_weight_that_is_one_number_is_no_weight_of_the_model() -> None:
    found = formulas_of(
        """
def merge(base, files, down, up, alpha):
    for path, weight in files:
        weight = float(weight)
        base[path] += weight * alpha / down.shape[0] * (up @ down)  # of a LoRA
"""
    )
    assert found == ["alpha / rank * strength"]
