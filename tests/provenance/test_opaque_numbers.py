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


LAYER = """
class LoraLayer:
    def __init__(self, base, lora_A, lora_B, alpha, rank):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.scaling = alpha / rank

    def merge(self, {parameter}):
        self.base.weight.data += self.lora_B @ self.lora_A * self.scaling * {name}
"""


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("push: float", "push"),
        ("push: float | None", "push"),
        ("push=0.5", "push"),
        ("weight: float", "weight"),
        ("gain", "gain"),
        ("weights, i", "weights[i]"),
    ],
)
def test_one_number_of_a_caller_beside_the_trained_scale_is_a_strength(parameter: str, name: str) -> None:
    found = formulas_of(LAYER.format(parameter=parameter, name=name))
    assert found[0] in ("alpha / rank * strength", "alpha / rank * multiplier")


@pytest.mark.parametrize(("parameter", "name"), [("push", "push"), ("mask", "mask"), ("norm: float", "norm")])
def test_what_may_be_something_else_is_not_known(parameter: str, name: str) -> None:
    assert formulas_of(LAYER.format(parameter=parameter, name=name)) == ["unknown"]


def test_an_option_of_click_that_is_one_number_is_no_weight_of_the_model() -> None:
    found = formulas_of(
        """
import click

@click.command()
@click.option("--weight", default=1.0, type=float)
@click.option("--lora", "path")
def main(path, weight):
    base = load_file("base.safetensors")
    for name, (down, up, alpha) in pairs(load_file(path)):
        base[name] += weight * alpha / down.shape[0] * (up @ down)
"""
    )
    assert found == ["alpha / rank * strength"]


def test_what_has_too_many_ways_is_not_known_by_its_name() -> None:
    found = formulas_of(
        """
from torch import nn


def each_pair(items):
    for item in items:
        yield item


class LoRAModule(nn.Module):
    def __init__(self, base_layer, lora_down, lora_up, alpha, lora_dim):
        super().__init__()
        self.base_layer = base_layer
        for lora_down, lora_up, alpha, lora_dim in each_pair([(lora_down, lora_up, alpha, lora_dim)]):
            self.weights = []
            self.weights.append(lora_down)
            self.weights.append(lora_up)
            self.weights.append(alpha)
            self.weights.append(lora_dim)

    def merge(self):
        scale = self.weights[2] / self.weights[3]
        self.base_layer.weight.data += (self.weights[1] @ self.weights[0]) * scale
"""
    )
    assert found == ["unknown"]
