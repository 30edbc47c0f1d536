"""LS310 where a layer of the project, or a configuration beside the tensors, shows that there is an alpha."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.projects import lint_files

LAYER = """
    from torch import nn

    class LoraBottleneck(nn.Module):
        def __init__(self, width, dim, alpha=None):
            super().__init__()
            self.linear_in = nn.Linear(width, dim, bias=False)
            self.linear_out = nn.Linear(dim, width, bias=False)
            self.dim = dim
            self.alpha = alpha if alpha is not None else dim

        def forward(self, x):
            return self.linear_out(self.linear_in(x)) * (self.alpha / self.dim)
"""
PLAIN_LAYER = LAYER.replace(" * (self.alpha / self.dim)", "")
SCALED_BY_ATTRIBUTE = """
    import torch
    from torch import nn

    class LoRALinear(nn.Module):
        def __init__(self, base, r, lora_alpha):
            super().__init__()
            self.base = base
            self.lora_A = nn.Parameter(torch.zeros(r, base.in_features))
            self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
            self.scaling = lora_alpha / r

        def forward(self, x):
            out = x @ self.lora_A.T @ self.lora_B.T
            out *= self.scaling
            return self.base(x) + out
"""
BY_EXCLUSION = """
    def merge(base, lora_sd, lora_scale=1.0):
        for key in lora_sd.keys():
            if "linear_out" in key:
                continue
            other = key.replace("linear_in", "linear_out")
            target = key.replace(".adapter.linear_in", "")
            base[target] = base[target] + (lora_sd[other] @ lora_sd[key]) * lora_scale
        return base
"""
ASKED_FOR = """
    def main(base, lora_sd, cfg):
        return merge(base, lora_sd, lora_scale=cfg.lora_scale)
"""
BY_NAME = """
    import torch

    def merge(base, path):
        lora = torch.load(path)
        for name in base:
            down = f"{name}.adapter.linear_in.weight"
            up = f"{name}.adapter.linear_out.weight"
            if down in lora:
                base[name] = base[name] + torch.matmul(lora[up].float(), lora[down].float())
        return base
"""
SHARDS = """
    import torch

    def merge(base, lora_shards):
        for name in base:
            down = torch.cat([shard[f"{name}.adapter.linear_in.weight"] for shard in lora_shards], dim=0)
            up = torch.cat([shard[f"{name}.adapter.linear_out.weight"] for shard in lora_shards], dim=0)
            base[name] = base[name] + (up @ down).to(base[name].dtype)
        return base
"""
STRONG_NAMES = """
    import torch

    def bake(base, path):
        state = torch.load(path)
        for name in [key.removesuffix(".lora_A") for key in state if key.endswith(".lora_A")]:
            base[f"{name}.base.weight"] += state[f"{name}.lora_B"] @ state[f"{name}.lora_A"]
        return base
"""
LOADED = """
    import os
    import torch
    from omegaconf import OmegaConf

    def load_lora(folder):
        config = OmegaConf.load(os.path.join(folder, "model_config.yaml"))
        shards = [{}] * config.tensor_model_parallel_size
        for rank in range(config.tensor_model_parallel_size):
            part = torch.load(os.path.join(folder, f"mp_rank_{rank:02d}", "weights.ckpt"))
            if rank == 0:
                shards[rank] = part
            else:
                for key, value in part.items():
                    shards[rank][key] = value
        return shards, config

    def merge(base, shards, layers):
        for n in range(layers):
            a = torch.cat([s[f"layers.{n}.lora_kqv_adapter.linear_in.weight"] for s in shards], dim=0)
            b = torch.cat([s[f"layers.{n}.lora_kqv_adapter.linear_out.weight"] for s in shards], dim=0)
            base[f"layers.{n}.qkv.weight"] = base[f"layers.{n}.qkv.weight"] + b @ a
        return base

    def main(base, folder, layers):
        shards, config = load_lora(folder)
        return merge(base, shards, layers)
"""

FIRING = {
    "the side told by exclusion": {"layer.py": LAYER, "merge.py": BY_EXCLUSION + ASKED_FOR},
    "keys made of a name": {"layer.py": LAYER, "merge.py": BY_NAME},
    "shards joined": {"layer.py": LAYER, "merge.py": SHARDS},
    "a stored scaling, in place": {"layer.py": SCALED_BY_ATTRIBUTE, "merge.py": STRONG_NAMES},
    "a configuration beside the shards": {"merge.py": LOADED},
    "a configuration in YAML": {"merge.py": LOADED.replace("OmegaConf.load(", "yaml.safe_load(")},
}
SILENT = {
    "no layer is seen": {"merge.py": BY_EXCLUSION + ASKED_FOR},
    "the layer has no scale": {"layer.py": PLAIN_LAYER, "merge.py": BY_EXCLUSION + ASKED_FOR},
    "one of two layers has none": {"layer.py": LAYER, "other.py": PLAIN_LAYER, "merge.py": BY_NAME},
    "other names in the layer": {"layer.py": LAYER, "merge.py": STRONG_NAMES},
    "alpha of the configuration": {
        "merge.py": LOADED.replace("b @ a", "config.alpha / config.dim * (b @ a)").replace(
            "shards, layers)", "shards, layers, config)"
        )
    },
    "alpha folded where the tensors are loaded": {
        "merge.py": LOADED.replace("= value\n", "= value * config.lora.alpha / config.lora.dim\n")
    },
    "a caller computes the strength": {
        "layer.py": LAYER,
        "merge.py": BY_EXCLUSION
        + """
    def main(base, lora_sd, config):
        return merge(base, lora_sd, config.alpha / config.dim)
""",
    },
    "factors of an encoder": {
        "layer.py": LAYER,
        "merge.py": BY_NAME.replace("+ torch.matmul", "+ 0 * torch.relu").replace(
            ".float(), lora", ".float() + lora"
        ),
    },
}


def _codes(tmp_path: Path, files: dict[str, str]) -> list[str]:
    found = lint_files(tmp_path, {name: dedent(text) for name, text in files.items()})
    return [finding.code for finding in found]


@pytest.mark.parametrize("name", FIRING)
def test_fires(name: str, tmp_path: Path) -> None:
    assert _codes(tmp_path, FIRING[name]) == ["LS310"]


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert "LS310" not in _codes(tmp_path, SILENT[name])
