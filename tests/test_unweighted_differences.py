"""LS124 on raw differences: they have the strength of the factors beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

BY_NAME = """\
import torch
from safetensors.torch import load_file

def merge_lora(model, path, strength):
    sd = load_file(path)
    for name, module in model.named_modules():
        up = f"{name}.lora_up.weight"
        if up in sd:
            down = sd[f"{name}.lora_down.weight"]
            alpha = sd[f"{name}.alpha"].item()
            module.weight.data += strength * (alpha / down.shape[0]) * (sd[up] @ down)
        elif f"{name}.diff" in sd:
            module.weight.data += sd[f"{name}.diff"].to(module.weight)
        if f"{name}.diff_b" in sd:
            module.bias.data += sd[f"{name}.diff_b"]
"""

BY_KEY = """\
import torch

def apply_lora(weights, lora, strength=1.0):
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            A, B = lora[key], lora[key.replace("lora_A", "lora_B")]
            weights[name] = weights[name] + strength * (B @ A)
        elif key.endswith(".diff_b"):
            name = key.replace(".diff_b", ".bias")
            weights[name] = weights[name] + lora[key]
    return weights
"""

TABLES = """\
import torch
from safetensors.torch import load_file


def merge(model, path, lora_scale=1.0):
    sd, pairs, rest = load_file(path), {}, {}

    def sort(key, suffix, target):
        if key.endswith(suffix):
            rest[key.replace(suffix, target)] = key

    for key in sd:
        if key.endswith("lora_up.weight"):
            pairs[key.replace("lora_up.weight", "weight")] = (key, key.replace("lora_up", "lora_down"))
        sort(key, "diff", "weight")
        sort(key, "diff_b", "bias")
    for name, param in model.state_dict().items():
        if name in pairs:
            up, down = pairs[name]
            param += sd[up] @ sd[down] * lora_scale
        elif name in rest:
            param += sd[rest[name]]
"""


RIGHT = {
    "weighted_late": """\
import torch
from safetensors.torch import load_file


def weighted_late(weights, lora, strength=1.0):
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            delta = lora[key.replace("lora_A", "lora_B")] @ lora[key]
        elif key.endswith(".diff"):
            name = key.replace(".diff", ".weight")
            delta = lora[key]
        else:
            continue
        weights[name] = weights[name] + strength * delta
    return weights
""",
    "other_file": """\
import torch
from safetensors.torch import load_file


def other_file(weights, lora, extra, strength):
    for key in list(extra):
        if key.endswith(".diff_b"):
            weights[key] = weights[key] + extra[key]
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            weights[name] = weights[name] + strength * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
""",
    "folded": """\
import torch
from safetensors.torch import load_file


def folded(weights, lora, strength):
    for key in list(lora):
        if key.endswith(".diff"):
            lora[key] = lora[key] * strength
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            weights[name] = weights[name] + strength * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
        elif key.endswith(".diff"):
            weights[key] = weights[key] + lora[key]
""",
    "lerped": """\
import torch
from safetensors.torch import load_file


def lerped(weights, lora, strength):
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            weights[name] = weights[name] + strength * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
        elif key.endswith(".diff"):
            weights[key] = torch.lerp(weights[key], weights[key] + lora[key], strength)
""",
    "scaled_first": """\
import torch
from safetensors.torch import load_file


def scaled_first(path, weights, strength):
    lora = {k: v * strength if k.endswith(".diff") else v for k, v in load_file(path).items()}
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            weights[name] = weights[name] + strength * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
        elif key.endswith(".diff"):
            weights[key] = weights[key] + lora[key]
""",
    "stack": """\
import torch
from safetensors.torch import load_file


def stack(weights, lora, strength):
    for key in list(lora):
        if key.endswith(".lora_A.weight"):
            name = key.replace(".lora_A.weight", ".weight")
            weights[name] = weights[name] + strength * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
        elif key.endswith(".diff"):
            new = weights[key] + lora[key]
            weights[key] = weights[key] * (1 - strength) + strength * new
""",
}


def codes(folder: Path, source: str) -> list[int]:
    found = lint_files(folder, {"lora_merge.py": source}, codes=["LS124"])
    return [item.span.start.row for item in found]


@pytest.mark.parametrize(
    ("source", "rows"), [(BY_NAME, [13, 15]), (BY_KEY, [11]), (TABLES, [22])], ids=["names", "keys", "tables"]
)
def test_a_difference_without_the_strength(tmp_path: Path, source: str, rows: list[int]):
    assert codes(tmp_path, source) == rows


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_a_difference_that_has_it_or_is_of_another_adapter(tmp_path: Path, source: str):
    assert codes(tmp_path, source) == []


def test_a_strength_that_only_the_bias_has_shows_that_the_weight_lacks_it(tmp_path: Path):
    source = """\
from safetensors.torch import load_file


def merge(params, path, strength=0.8):
    sd = load_file(path)
    for key, value in sd.items():
        if key.endswith(".lora_A.weight"):
            stem = key[: -len(".lora_A.weight")]
            scale = strength * sd[stem + ".alpha"].item() / value.shape[0]
            params[stem].data += scale * (sd[stem + ".lora_B.weight"] @ value)
        elif key.endswith(".diff"):
            params[key[:-5]].data += value
        elif key.endswith(".diff_b"):
            params[key[:-7]].data += strength * value
"""
    assert codes(tmp_path, source) == [12]
    assert codes(tmp_path, source.replace("data += value", "data += strength * value")) == []
