"""LS306 and LS308: keys and ranks that a conversion changes, with the alpha that belongs to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

RENAME = """
import torch

def convert_lora(prefix, weights_sd, network_alpha=None):
    converted = {{}}
    dims = {{}}
    for key, weight in weights_sd.items():
        {guard}
        new_key = {key}
        converted[new_key] = weight
        if "lora_down" in new_key:
            dims[new_key.split(".")[0]] = weight.shape[0]
    for name, dim in dims.items():
        converted[f"{{name}}.alpha"] = {alpha}
    return converted
"""
FLAT = '(prefix + key).replace(".", "_").replace("_lora_A_", ".lora_down.").replace("_lora_B_", ".lora_up.")'
KEEPS = {"guard": "name = key", "alpha": "torch.tensor(dim)"}

RENAMES_FIRING = {
    "lora_A to lora_down": RENAME.format(key=FLAT, **KEEPS),
    "alpha of one": RENAME.format(key=FLAT, guard="name = key", alpha="torch.tensor(1.0)"),
}
RENAMES_SILENT = {
    "alpha restored": RENAME.format(key=FLAT + '.replace("_alpha", ".alpha")', **KEEPS),
    "alpha handled apart": RENAME.format(
        key=FLAT, guard='if key.endswith(".alpha"):\n            continue', alpha="torch.tensor(dim)"
    ),
    "alpha of the training": RENAME.format(key=FLAT, guard="name = key", alpha="network_alpha"),
    "suffix kept": RENAME.format(key='prefix + key.split(".lora")[0].replace(".", "_")', **KEEPS),
    "one side only": RENAME.format(
        key='key.replace(".", "_").replace("_lora_down_", ".lora_down.")', **KEEPS
    ),
}

FUSE = """
import torch

def fuse_lora(lora_sd, name, count):
    downs = [lora_sd.pop(f"{{name}}.lora_down.{{i}}.weight") for i in range(count)]
    ups = [lora_sd.pop(f"{{name}}.lora_up.{{i}}.weight") for i in range(count)]
    alpha = lora_sd.pop(f"{{name}}.alpha")
    fused = {{}}
    fused[f"{{name}}.lora_down.weight"] = {down}
    fused[f"{{name}}.lora_up.weight"] = {up}
    fused[f"{{name}}.alpha"] = {alpha}
    {more}
    return fused
"""
DIAGONAL = {"down": "torch.cat(downs)", "up": "torch.block_diag(*ups)", "alpha": "alpha", "more": ""}

FUSIONS_FIRING = {
    "block diagonal": FUSE.format(**DIAGONAL),
    "side by side": FUSE.format(**{**DIAGONAL, "up": "torch.cat(ups, dim=1)"}),
    "converted": FUSE.format(**{**DIAGONAL, "down": "torch.cat(downs, dim=0).contiguous()"}),
}
FUSIONS_FIRING["the state of a network, which another method changes"] = """
import torch
from torch import nn

class LoRANetwork(nn.Module):
    def regularize(self, ratio):
        tensors = self.state_dict()
        for key in tensors:
            if "lora_down" in key:
                tensors[key] *= ratio
                tensors[key.replace("lora_down.weight", "alpha")] = ratio

    def state_dict(self, destination=None):
        held = super().state_dict(destination)
        fused = {}
        for key in list(held):
            sizes = self.sizes_of(key)
            name = key.split(".")[0]
            downs = [held.pop(f"{name}.lora_down.{i}.weight") for i in range(len(sizes))]
            ups = [held.pop(f"{name}.lora_up.{i}.weight") for i in range(len(sizes))]
            alpha = held.pop(f"{name}.alpha")
            down, rank = torch.cat(downs, dim=0), ups[0].size(1)
            up = torch.zeros((sum(sizes), down.size(0)))
            for i in range(len(sizes)):
                up[i : i + sizes[i], i * rank : (i + 1) * rank] = ups[i]
            fused[f"{name}.lora_down.weight"] = down
            fused[f"{name}.lora_up.weight"] = up
            fused[f"{name}.alpha"] = alpha
        return fused
"""
FUSIONS_SILENT = {
    "alpha times the count": FUSE.format(**{**DIAGONAL, "alpha": "alpha * count"}),
    "alpha corrected afterwards": FUSE.format(**{**DIAGONAL, "more": 'fused[f"{name}.alpha"] *= count'}),
    "only B joined": FUSE.format(**{**DIAGONAL, "down": "downs[0]", "up": "torch.cat(ups, dim=0)"}),
    "A joined along its inputs": FUSE.format(**{**DIAGONAL, "down": "torch.cat(downs, dim=1)"}),
    "alpha from the new rank": FUSE.format(**{**DIAGONAL, "alpha": "torch.tensor(count * ups[0].shape[1])"}),
    "scaled before": FUSE.format(**{**DIAGONAL, "down": "torch.cat([down * alpha for down in downs])"}),
    "B that is not understood": FUSE.format(**{**DIAGONAL, "up": "arrange(ups)"}),
}


@pytest.mark.parametrize("name", RENAMES_FIRING)
def test_renaming_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": RENAMES_FIRING[name]})]
    assert found.count("LS306") == 1


@pytest.mark.parametrize("name", RENAMES_SILENT)
def test_renaming_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": RENAMES_SILENT[name]})]
    assert "LS306" not in found


@pytest.mark.parametrize("name", FUSIONS_FIRING)
def test_fusion_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": FUSIONS_FIRING[name]})]
    assert found.count("LS308") == 1


@pytest.mark.parametrize("name", FUSIONS_SILENT)
def test_fusion_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": FUSIONS_SILENT[name]})]
    assert "LS308" not in found
