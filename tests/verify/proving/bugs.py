"""Authored bugs, one of each kind, with the numbers that running them gives; and the code without the bug."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """`expected` and `observed` are scales at alpha 4, rank 8 where nothing else is said in `source`."""

    code: str
    source: str
    expected: float | None = None
    observed: float | None = None


LAYER = """
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank, alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Parameter(torch.randn(rank, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, rank))
        self.scaling = alpha / rank
        self.lora_strength = 1.0

    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return self.base_layer(x) + delta * self.scaling * self.lora_strength

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A * self.scaling * self.lora_strength

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_B @ self.lora_A * self.scaling * self.lora_strength
"""
PLAIN_LAYER = LAYER.replace(" * self.lora_strength", "").replace("        self.lora_strength = 1.0\n", "")
FUNCTION = """
def merge(weight, lora_A, lora_B, alpha, rank, strength=1.0):
    scale = alpha / rank
    return weight + strength * scale * (lora_B @ lora_A)
"""
ADAPTERS = """
import math

from torch import nn


class LoraLayer:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_A, self.lora_B = {}, {}
        self.r, self.lora_alpha, self.scaling, self.trained = {}, {}, {}, {}

    def update_layer(self, adapter_name, r, lora_alpha, use_rslora):
        self.r[adapter_name] = r
        self.lora_alpha[adapter_name] = lora_alpha
        self.lora_A[adapter_name] = nn.Linear(self.base_layer.in_features, r, bias=False)
        self.lora_B[adapter_name] = nn.Linear(r, self.base_layer.out_features, bias=False)
        if use_rslora:
            self.scaling[adapter_name] = lora_alpha / math.sqrt(r)
        else:
            self.scaling[adapter_name] = lora_alpha / r
        self.trained[adapter_name] = self.scaling[adapter_name]

    def set_scale(self, adapter, scale):
        self.scaling[adapter] = scale * self.trained[adapter]


class Linear(LoraLayer):
    def __init__(self, base_layer: nn.Linear, adapter_name, r, lora_alpha, use_rslora=False):
        super().__init__(base_layer)
        self.active = adapter_name
        self.update_layer(adapter_name, r, lora_alpha, use_rslora)

    def forward(self, x):
        delta = self.lora_B[self.active](self.lora_A[self.active](x))
        return self.base_layer(x) + delta * self.scaling[self.active]
"""
SETTER = """
class LoRALinear:
    def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
        self.base_layer = base_layer
        self.lora_A = None
        self.lora_B = None
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def set_lora_weights(self, A, B, lora_alpha=None):
        self.lora_A = A
        self.lora_B = B
        self.lora_alpha = lora_alpha

    def merge(self):
        scale = 1.0
        if self.lora_alpha is not None and self.lora_rank is not None:
            scale = self.lora_alpha / self.lora_rank
        self.base_layer.weight.data += scale * (self.lora_B @ self.lora_A)
"""
FILE_MERGE = """
import torch


def merge_lora(state_dict, lora_state_dict, strength=1.0):
    for key in list(lora_state_dict):
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        down, up = lora_state_dict[key], lora_state_dict[name + ".lora_up.weight"]
        scale = 1.0
        if name + ".alpha" in lora_state_dict:
            scale = float(lora_state_dict[name + ".alpha"]) / down.shape[0]
        state_dict[name + ".weight"] += strength * scale * (up @ down)
    return state_dict
"""

RIGHT = {
    "layer": LAYER,
    "adapters": ADAPTERS,
    "function": FUNCTION,
    "setter": SETTER,
    "file_merge": FILE_MERGE,
}


def _changed(source: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in source, old
        source = source.replace(old, new)
    return source


_MERGED = "self.base_layer.weight.data += self.lora_B @ self.lora_A * self.scaling"
_UNMERGED = "self.base_layer.weight.data -= self.lora_B @ self.lora_A * self.scaling"

BUGS = {
    "unscaled_merge": Bug(
        "LS101",
        _changed(PLAIN_LAYER, (_MERGED, _MERGED.removesuffix(" * self.scaling"))),
        0.5,
        1.0,
    ),
    "unscaled_forward": Bug(
        "LS102", _changed(PLAIN_LAYER, (" + delta * self.scaling", " + delta")), 0.5, 1.0
    ),
    "double_scale": Bug("LS106", _changed(PLAIN_LAYER, (_MERGED, f"{_MERGED} * self.scaling")), 0.5, 0.25),
    "inverted": Bug("LS111", _changed(PLAIN_LAYER, ("alpha / rank", "rank / alpha")), 0.5, 2.0),
    "undivided": Bug("LS107", _changed(PLAIN_LAYER, ("alpha / rank", "alpha")), 0.5, 4.0),
    "asymmetric": Bug("LS109", _changed(PLAIN_LAYER, (_UNMERGED, f"{_UNMERGED} / 2")), 0.0, 0.25),
    "scaled_base": Bug(
        "LS110",
        _changed(
            PLAIN_LAYER,
            ("self.base_layer(x) + delta * self.scaling", "(self.base_layer(x) + delta) * self.scaling"),
        ),
    ),
    "squared_strength": Bug(
        "LS118", _changed(FUNCTION, ("strength * scale", "strength * strength * scale")), 0.25, 0.125
    ),
    "scale_set_anew": Bug(
        "LS223",
        _changed(
            ADAPTERS, ("scale * self.trained[adapter]", "scale * self.lora_alpha[adapter] / self.r[adapter]")
        ),
        2**0.5,
        0.5,
    ),
    "ignored_strength": Bug("LS117", _changed(FUNCTION, ("strength * scale", "scale")), 0.25, 0.5),
    "one_path": Bug(
        "LS105",
        _changed(LAYER, ("delta * self.scaling * self.lora_strength", "delta * self.scaling")),
        0.5,
        0.25,
    ),
    "wrong_extent": Bug(
        "LS120", _changed(FUNCTION, ("alpha / rank\n", "alpha / lora_B.shape[0]\n")), 0.5, 4 / 35
    ),
    "truncated": Bug(
        "LS204",
        _changed(
            SETTER,
            ("A, B, lora_alpha=None", "A, B, lora_alpha: float | None = None"),
            (
                "        self.lora_alpha = lora_alpha\n\n    def m",
                "        self.lora_alpha = int(lora_alpha) if lora_alpha is not None else 8\n\n    def m",
            ),
        ),
        0.3,
        0.25,
    ),
    "floor_division": Bug(
        "LS204",
        """
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, w: nn.Module, w_a: nn.Module, w_b: nn.Module, r: int, alpha: int):
        super().__init__()
        self.w = w
        self.w_a = w_a
        self.w_b = w_b
        self.r = r
        self.alpha = alpha

    def forward(self, x):
        return self.w(x) + (self.alpha // self.r) * self.w_b(self.w_a(x))
""",
        0.5,
        0.0,
    ),
    "no_alpha_in_setter": Bug(
        "LS203",
        _changed(
            SETTER,
            ("A, B, lora_alpha=None", "A, B"),
            ("        self.lora_alpha = lora_alpha\n\n    def m", "\n    def m"),
        ),
        0.375,
        0.5,
    ),
    "converter_drops_alpha": Bug(
        "LS302",
        """
def convert(state_dict):
    made = {}
    for key, value in state_dict.items():
        if key.endswith(".lora_down.weight"):
            name = key[: -len(".lora_down.weight")]
            alpha = state_dict[name + ".alpha"]
            made[f"diffusion_model.{name}.lora_A.weight"] = value
            made[f"diffusion_model.{name}.lora_B.weight"] = state_dict[name + ".lora_up.weight"]
    return made
""",
        0.5,
        1.0,
    ),
    "drops_file_alpha": Bug(
        "LS310",
        _changed(
            FILE_MERGE,
            (
                '        if name + ".alpha" in lora_state_dict:\n'
                '            scale = float(lora_state_dict[name + ".alpha"]) / down.shape[0]\n',
                "",
            ),
        ),
        0.5,
        1.0,
    ),
}
