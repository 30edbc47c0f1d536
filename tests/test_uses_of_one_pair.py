"""Every use of one pair of factors has the same scale: in a layer that another holds, and by a flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files
from tests.provenance.formulas import formula_of

WRAPPER = """\
import torch
from torch import nn


class LoRAPair(nn.Module):
    def __init__(self, in_dim, out_dim, rank, alpha):
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, in_dim))
        self.lora_B = nn.Parameter(torch.zeros(out_dim, rank))
        self.scaling = alpha / rank


class AdaptedLinear(nn.Module):
    def __init__(self, original, rank, alpha, directional=False):
        super().__init__()
        self.original = original
        self.directional = directional
        self.lora = LoRAPair(original.in_features, original.out_features, rank, alpha)
        if directional:
            self.m = nn.Parameter(original.weight.data.norm(p=2, dim=1, keepdim=True))

    def forward(self, x):
        if not self.directional:
            out = (x @ self.lora.lora_A.t()) @ self.lora.lora_B.t()
            return self.original(x) + out{forward}
        delta = self.lora.lora_B @ self.lora.lora_A{whole}
        combined = self.original.weight + delta
        norm = combined.norm(p=2, dim=1, keepdim=True)
        return nn.functional.linear(x, self.m * (combined / norm))
"""
SCALED = " * self.lora.scaling"
TRAINED = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, linear, r, alpha):
        super().__init__()
        self.linear = linear
        self.scaling = alpha / r
        self.inside = False
        self.lora_A = nn.Parameter(torch.zeros(r, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))

    def train(self, mode=True):
        super().train(mode)
        if mode and self.inside:
            self.linear.weight.data {sign} (self.lora_B @ self.lora_A) * self.scaling
            self.inside = False
        elif not mode and not self.inside:
            self.linear.weight.data += (self.lora_B @ self.lora_A) * self.scaling
            self.inside = True
        return self

    def forward(self, x):
        if self.inside:
            return self.linear(x)
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
HOOK = """\
def load(lora_weights_list, lora_multipliers, keys_list):
    def hook(key, weight):
        for keys, lora_sd, multiplier in zip(keys_list, lora_weights_list, lora_multipliers):
            name = "lora_unet_" + key.replace(".", "_")
            down_key, up_key = name + ".lora_down.weight", name + ".lora_up.weight"
            if down_key not in keys:
                continue
            down, up = lora_sd[down_key], lora_sd[up_key]
            alpha = lora_sd.get(name + ".alpha", down.shape[0])
            weight = weight + multiplier * (up @ down) * {scale}
            keys.remove(down_key)
        return weight

    return hook
"""


def _codes(source: str, tmp_path: Path) -> set[str]:
    return {finding.code for finding in lint_files(tmp_path, {"lora.py": source})}


@pytest.mark.parametrize(
    ("forward", "whole", "codes"),
    [(SCALED, SCALED, set()), ("", SCALED, {"LS102"}), (" * 1.0", SCALED, {"LS102"})],
)
def test_factors_of_a_layer_that_another_holds(
    forward: str, whole: str, codes: set[str], tmp_path: Path
) -> None:
    assert _codes(WRAPPER.format(forward=forward, whole=whole), tmp_path) == codes


@pytest.mark.parametrize(("sign", "codes"), [("+=", {"LS109"}), ("-=", set())])
def test_what_a_flag_says_to_be_inside_is_taken_out(sign: str, codes: set[str], tmp_path: Path) -> None:
    assert _codes(TRAINED.format(sign=sign), tmp_path) == codes


def test_alpha_under_a_key_that_a_loop_makes_anew() -> None:
    assert formula_of(HOOK.format(scale="(alpha / down.shape[0])")) == ["alpha / rank * strength"]
    assert formula_of(HOOK.format(scale="alpha")) == ["alpha * strength"]
