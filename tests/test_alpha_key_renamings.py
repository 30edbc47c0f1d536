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
RENAMES_FIRING["and another function names the blocks anew"] = (
    RENAMES_FIRING["lora_A to lora_down"]
    + """
def rename_blocks(lora_sd):
    renamed = {}
    for key, weight in lora_sd.items():
        if "double_blocks" in key:
            key = key.replace("double_blocks", "transformer_blocks")
        elif "single_blocks" in key:
            key = key.replace("single_blocks", "single_transformer_blocks")
        if "qkv" in key:
            for part in ("q", "k", "v"):
                renamed[key.replace("qkv", part)] = weight
        else:
            renamed[key] = weight
    return renamed

def load_lora(lora_sd):
    for key in lora_sd:
        if key.startswith("diffusion_model."):
            lora_sd = convert_lora("lora_unet_", lora_sd)
            break
    return rename_blocks(lora_sd)
"""
)

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
STACK = """
import torch

def stack(one, two, u, v):
    result = {{}}
    for key in one:
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        alpha = one[name + ".alpha"]
        {fold}
        result[key] = torch.cat([one[key], two[key]], dim=0)
        result[name + ".lora_up.weight"] = torch.cat(
            [one[name + ".lora_up.weight"] * u, two[name + ".lora_up.weight"] * v], dim=1
        )
        result[name + ".alpha"] = {alpha}
    return result
"""
STACKED = {
    "weights of the caller": STACK.format(fold="", alpha="alpha"),
    "the second brought to the level of the first": STACK.format(
        fold='v = v * (two[name + ".alpha"] / two[key].shape[0]) / (alpha / one[key].shape[0])',
        alpha="alpha.clone()",
    ),
    "several branches, whose alphas are compared": """
import torch

def fuse(lora, name, branches):
    downs = [lora[f"{name}.{b}.lora_A.weight"] for b in branches]
    ups = [lora[f"{name}.{b}.lora_B.weight"] for b in branches]
    alphas = {lora[f"{name}.{b}.alpha"].item() for b in branches}
    if len(alphas) > 1:
        raise ValueError("branches of several alphas")
    made = {f"{name}.qkv.lora_A.weight": torch.vstack(downs)}
    made[f"{name}.qkv.lora_B.weight"] = torch.block_diag(*ups)
    made[f"{name}.qkv.alpha"] = torch.tensor(alphas.pop())
    return made
""",
    "given back as a row": """
import torch

def lora_pair(parts):
    first_A, first_B, alpha = parts["q_A"], parts["q_B"], parts.get("q_alpha")
    return (
        torch.cat([first_A, parts["k_A"], parts["v_A"]]),
        torch.block_diag(first_B, parts["k_B"], parts["v_B"]),
        alpha,
    )
""",
}
STACKED_RIGHT = {
    "alpha times the common rank over its own": STACK.format(
        fold="", alpha="alpha * result[key].shape[0] / one[key].shape[0]"
    ),
    "scales folded, alpha is the rank": STACK.format(
        fold="u, v = u * alpha / one[key].shape[0], v * two[name + '.alpha'] / two[key].shape[0]",
        alpha="torch.tensor(float(result[key].shape[0]))",
    ),
    "each part makes up for the common rank": STACK.format(
        fold="n = one[key].shape[0] + two[key].shape[0]\n        "
        "u, v = u * n / one[key].shape[0], v * n * (two[name + '.alpha'] / two[key].shape[0]) / alpha",
        alpha="alpha",
    ),
    "given back with the count": """
import torch

def lora_pair(parts):
    alpha = parts.get("q_alpha")
    return (
        torch.cat([parts["q_A"], parts["k_A"], parts["v_A"]]),
        torch.block_diag(parts["q_B"], parts["k_B"], parts["v_B"]),
        None if alpha is None else 3 * alpha,
    )
""",
    "one part alone": """
import torch

def lora_pair(parts):
    return torch.cat([parts["q_A"]]), torch.cat([parts["q_B"], parts["k_B"]], dim=0), parts["q_alpha"]
""",
}
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


@pytest.mark.parametrize("name", STACKED)
def test_stacked_pair_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": STACKED[name]})]
    assert found.count("LS308") == 1


@pytest.mark.parametrize("name", STACKED_RIGHT)
def test_stacked_pair_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": STACKED_RIGHT[name]})]
    assert "LS308" not in found


JOINED = """
import json
import torch
from safetensors.torch import load_file, save_file

def join_lora(one, two, out):
    first = load_file(one + "/adapter_model.safetensors")
    second = load_file(two + "/adapter_model.safetensors")
    config = json.load(open(one + "/adapter_config.json"))
    ranks = [json.load(open(path + "/adapter_config.json"))["r"] for path in (one, two)]
    made = {{}}
    for key in first:
        made[key] = torch.cat([first[key], second[key]], dim=0 if "lora_A" in key else 1)
    config["r"] = sum(ranks)
    {more}
    json.dump(config, open(out + "/adapter_config.json", "w"))
    save_file(made, out + "/adapter_model.safetensors")
"""


@pytest.mark.parametrize(
    ("more", "count"),
    [
        ("pass", 1),
        ('config["lora_dropout"] = 0.0', 1),
        ('config["lora_alpha"] = config["lora_alpha"] * sum(ranks) / ranks[0]', 0),
        ('config["lora_alpha"] = sum(ranks)', 0),
    ],
)
def test_joined_adapters_and_their_configuration(more: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"join.py": JOINED.format(more=more)}, codes=["LS308"])
    assert len(found) == count
