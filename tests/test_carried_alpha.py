"""LS107 where alpha travels beside its factors: tuples, tables and records, and those that are divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LIST = """
import torch

def load_lora(state_dict, modules):
    lora_alphas = {{}}
    for key in [key for key in state_dict if "alpha" in key]:
        lora_alphas[key] = float(state_dict.pop(key).item())
    for name, module in modules.items():
        lora_A = state_dict[name + ".lora_A.weight"]
        lora_B = state_dict[name + ".lora_B.weight"]
        alpha = {alpha}
        module.adapters["default"] = [lora_A, lora_B, None, alpha]

def lora_forward(module, strength, weight):
    data = module.adapters.get("default")
    lora_A, lora_B, diff_b, alpha = data
    {use}
    return weight
"""
PLAIN = {
    "alpha": 'lora_alphas.get(name + ".alpha", 1.0)',
    "use": "weight.addmm_(lora_B, lora_A, alpha=strength() * alpha)",
}

TABLE = """
def load_lora(state_dict, names):
    table = {{}}
    for name in names:
        table[name] = {{
            "down": state_dict[name + ".lora_down.weight"],
            "up": state_dict[name + ".lora_up.weight"],
            "alpha": {alpha},
        }}
    return table

def apply_lora(weights, table, strength):
    for name, entry in table.items():
        weights[name] += {use}
"""
ENTRY = {
    "alpha": 'float(state_dict[name + ".alpha"])',
    "use": 'strength * entry["alpha"] * (entry["up"] @ entry["down"])',
}

RECORD = """
from dataclasses import dataclass
import torch
import torch.nn.functional as F

@dataclass
class LoraEntry:
    lora_a: torch.Tensor
    lora_b: torch.Tensor
    alpha: float

def load_lora(tensors, name):
    return LoraEntry(
        lora_a=tensors[f"{{name}}.lora_A.weight"],
        lora_b=tensors[f"{{name}}.lora_B.weight"],
        alpha={alpha},
    )

def lora_output(x, entry: LoraEntry):
    return F.linear(F.linear(x, entry.lora_a), entry.lora_b) * {scale}
"""

PARSER = """
import torch
import torch.nn.functional as F

class Pairs:
    def __init__(self):
        self.rows = {{}}

    def put(self, name, down, up, alpha=1.0):
        self.rows[name] = (down, up, alpha)

def parse_lora(state_dict, names, strength):
    groups = {{}}
    for name in names:
        groups[name] = {{
            "down": state_dict[name + ".lora_down.weight"],
            "up": state_dict[name + ".lora_up.weight"],
            "alpha": state_dict.get(name + ".alpha"),
        }}
    pairs = Pairs()
    for name, group in groups.items():
        alpha = group["alpha"]
        scale = {scale} if alpha is not None else 1.0
        pairs.put(name, group["down"], group["up"], scale * strength)
    return pairs

def add_lora(x, down, up, alpha, output):
    output.add_(F.linear(F.linear(x, down), up), alpha=alpha)

class PatchedLinear(torch.nn.Linear):
    lora_patches = ()

    def forward(self, x):
        out = super().forward(x)
        for down, up, alpha in self.lora_patches:
            out.add_(F.linear(F.linear(x, down), up), alpha=alpha)
        return out
"""

FIRING = {
    "a list": LIST.format(**PLAIN),
    "a list, by index": LIST.format(
        **PLAIN | {"use": "alpha = data[3]\n    weight += alpha * torch.mm(lora_B, lora_A)"}
    ),
    "a method": LIST.format(**PLAIN | {"use": "weight.add_(lora_B @ lora_A, alpha=alpha)"}),
    "a table": TABLE.format(**ENTRY),
    "a table with a default": TABLE.format(**ENTRY | {"alpha": 'state_dict.get(name + ".alpha", 1.0)'}),
    "a record": RECORD.format(alpha='tensors[f"{name}.alpha"].item()', scale="entry.alpha"),
    "a row of a parser that divides nothing": PARSER.format(scale="float(alpha)"),
}

SILENT = {
    "a row of a parser that divides": PARSER.format(scale='float(alpha) / group["down"].shape[0]'),
    "divided where it is stored": LIST.format(
        **PLAIN | {"alpha": 'lora_alphas.get(name + ".alpha", 1.0) / lora_A.shape[0]'}
    ),
    "divided where it is used": LIST.format(
        **PLAIN | {"use": "weight.addmm_(lora_B, lora_A, alpha=alpha / lora_A.shape[0])"}
    ),
    "divided by a count": TABLE.format(
        **ENTRY | {"use": 'entry["alpha"] / entry["rank"] * (entry["up"] @ entry["down"])'}
    ),
    "folded into a factor": TABLE.format(**ENTRY).replace(
        'state_dict[name + ".lora_up.weight"]', 'state_dict[name + ".lora_up.weight"] / rank'
    ),
    "a strength": TABLE.format(**ENTRY | {"alpha": "strengths[name]"}),
    "made elsewhere": LIST.format(**PLAIN | {"alpha": "scale_of(name)"}),
    "a record that is divided": RECORD.format(
        alpha='tensors[f"{name}.alpha"].item()', scale="(entry.alpha / entry.lora_a.size(0))"
    ),
    "another record": TABLE.format(**ENTRY | {"use": 'other["alpha"] * (entry["up"] @ entry["down"])'}),
    "a finished scale": TABLE.format(**ENTRY | {"alpha": 'state_dict[name + ".alpha_scale"]'}),
}


@pytest.mark.parametrize("name", FIRING)
def test_fires(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"lora_patch.py": FIRING[name]})]
    assert found.count("LS107") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"lora_patch.py": SILENT[name]})]
    assert "LS107" not in found
