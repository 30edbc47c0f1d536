"""Spellings of known mechanisms that were met in public code, and what looks like them and is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FIRING = {
    "LS308: a truncated decomposition": """
import copy
import torch

def reduce_lora_rank(folder, variant, fraction):
    weights, source = load_weights(folder), load_adapter_config(folder)
    new_rank = max(1, int(source["r"] * fraction))
    for a_key, b_key in find_lora_pairs(weights):
        u, s, vh = torch.linalg.svd(weights[b_key] @ weights[a_key], full_matrices=False)
        root = torch.diag(s[:new_rank].sqrt())
        weights[a_key], weights[b_key] = root @ vh[:new_rank], u[:, :new_rank] @ root
    save_weights(variant, weights)
    config = copy.deepcopy(source)
    config["r"] = new_rank
    save_adapter_config(variant, config)
""",
    "LS207: the copy gets its alpha afterwards": """
import torch

def resize_lora(state_dict, new_rank):
    resized = state_dict.copy()
    for key in list(state_dict):
        if len(key) > 3 and "lora_down.weight" in key:
            alpha_key = key.replace("lora_down.weight", "alpha")
            down = state_dict[key]
            alpha = state_dict.get(alpha_key, torch.tensor(1.0))
            resized[key] = shrink(down * (alpha.item() / down.shape[0]), new_rank)
            resized[alpha_key] = torch.tensor(new_rank)
    return resized
""",
    "LS401: a configuration of PEFT by a field of its own": """
import json
from safetensors.torch import load_file

class LoraAdapter:
    def __init__(self, config_path, tensor_path):
        with open(config_path) as handle:
            config = json.load(handle)
        if config.get("fan_in_fan_out"):
            raise ValueError("transposed weights are not supported")
        self.scale = float(config["lora_alpha"]) / config["r"]
        self.tensors = load_file(tensor_path)
""",
    "LS204: the text of the metadata": """
def sample_with_lora(model, handle, network_dim):
    metadata = handle.metadata() or {}
    lora_alpha = int(float(metadata.get("ss_network_alpha", network_dim)))
    inject_lora(model, network_dim, lora_alpha)
""",
    "LS205: alpha is None unless the file has one": """
import torch
from safetensors.torch import load_file

def merge_lora(weights, path, strength):
    lora = load_file(path)
    for name in weights:
        alpha = None
        if name + ".alpha" in lora:
            alpha = lora[name + ".alpha"].item()
        down = lora[name + ".lora_down.weight"]
        delta = torch.mm(lora[name + ".lora_up.weight"], down)
        if alpha:
            delta *= alpha / down.shape[0]
        weights[name] += strength * delta
""",
    "LS302: a list of words that keys must not have": """
import re

def webui_to_diffusers(lora_sd):
    converted = {}
    for index, key in enumerate(lora_sd):
        omitted = ["_te_", "alpha", "_proj_"]
        if any([word in key for word in omitted]):
            continue
        new = re.sub("^lora_unet_down_blocks_", "down_blocks.", key)
        new = re.sub(r"\\.lora_up\\.", "_lora.up.", new)
        new = re.sub(r"\\.lora_down\\.", "_lora.down.", new)
        converted[new] = lora_sd[key]
    return converted
""",
    "LS302: a helper makes the new name": """
import torch
from safetensors.torch import load_file

def unet_name(name):
    name = name.replace("lora_unet_", "")
    head, tail = name.split(".", 1)
    return head.replace("_", ".") + "." + tail

def safetensors_to_bin(source, target):
    renamed = {}
    tensors = load_file(source)
    for key in tensors:
        if "ff_net" in key or "alpha" in key:
            continue
        renamed[unet_name(key)] = tensors[key]
    torch.save(renamed, target)
""",
    "LS310: strengths by block": """
import torch

def apply_lora(layers, lora_sd, ratio, block_weights=None):
    for key in lora_sd:
        if ".alpha" in key or "lora_down" not in key:
            continue
        added = ratio * torch.mm(lora_sd[key.replace("lora_down", "lora_up")], lora_sd[key])
        if block_weights:
            if "text" in key:
                added *= block_weights["base"][0]
            else:
                added *= block_weights["unet"][1]
        layers[key.split(".")[0]].weight.data += added
""",
    "LS310: the prefix of PEFT's keys is cut off": """
def merge_adapter(model, adapter, coefficient=1.0):
    params = dict(model.named_parameters())
    for key, lora_a in adapter.items():
        if "lora_A" in key:
            lora_b = adapter[key.replace("lora_A", "lora_B")]
            name = key.replace("base_model.", "").replace(".lora_A.weight", ".weight")
            params[name].data += coefficient * (lora_b @ lora_a)
""",
    "LS401: the configurations of several adapters": """
def bake_adapters(base, tensors, configs, strengths):
    for weights, config, strength in zip(tensors, configs, strengths):
        base = bake_one(base, weights, config, strength)
    return base

def bake_one(base, weights, adapter_config: dict[str, Any], strength=1.0):
    r = int(adapter_config.get("r", 16))
    scale = strength * float(adapter_config.get("lora_alpha", r)) / r
    for key in weights:
        if key.endswith(".lora_A.weight"):
            other = key.replace(".lora_A.weight", ".lora_B.weight")
            base[key] = base[key] + scale * (weights[other] @ weights[key])
    return base
""",
    "LS114: adapters that each have a scale": """
def combine(self, adapters):
    first = adapters[0]
    combined = {k: v * first.scale for k, v in self.load_adapter_weights(first.path).items()}
    for adapter in adapters[1:]:
        for k, v in self.load_adapter_weights(adapter.path).items():
            combined[k] = combined[k] + v * adapter.scale
    self.model.load_lora_weights(combined)
""",
}

SILENT = {
    "LS308: the scale is in the new factors": """
import json
import torch

def compress_lora(folder, out, new_rank):
    pairs, config = read_lora(folder)
    scaling = scale_of(config)
    tensors = {}
    for a_key, b_key in pairs:
        u, s, vh = torch.linalg.svd(scaling * (pairs[b_key] @ pairs[a_key]))
        tensors[a_key], tensors[b_key] = vh[:new_rank], u[:, :new_rank] * s[:new_rank]
    config = json.load(open(folder + "/adapter_config.json"))
    config["r"] = new_rank
    save_tensors(tensors, out)
    json.dump(config, open(out + "/adapter_config.json", "w"))
""",
    "LS308: the rank is restated as it was": """
import json
import torch

def orthogonal_lora(folder, out):
    config = json.load(open(folder + "/adapter_config.json"))
    tensors = {k: torch.linalg.svd(v)[0] for k, v in read_lora(folder).items()}
    config["r"] = int(config.get("r", 8))
    save_tensors(tensors, out)
    json.dump(config, open(out + "/adapter_config.json", "w"))
""",
    "LS207: the missing alphas were written before": """
import torch

def scaled_lora(state_dict):
    for key in list(state_dict):
        if "lora_down.weight" in key:
            state_dict.setdefault(key, None)
            state_dict[key.replace("lora_down.weight", "alpha")] = torch.tensor(state_dict[key].shape[0])
    for key in list(state_dict):
        if "lora_down.weight" in key:
            alpha = state_dict.get(key.replace("lora_down.weight", "alpha"), 1.0)
            state_dict[key] = state_dict[key] * (alpha / state_dict[key].shape[0])
    return state_dict
""",
    "LS204: a form of a program that trains": """
def start_lora_training(form):
    lora_alpha = int(float(form.get("lora_alpha", 16)))
    return lora_alpha
""",
    "LS310: how far a decomposition is from the difference": """
import torch

def lora_errors(lora_tensors, deltas):
    errors = {}
    for key in lora_tensors:
        if key.endswith(".lora_down.weight"):
            up = lora_tensors[key.replace("lora_down", "lora_up")]
            rebuilt = up @ lora_tensors[key]
            errors[key] = torch.mean((deltas[key] - rebuilt) ** 2).item()
            errors[key + ".max"] = torch.max(torch.abs(deltas[key] - rebuilt)).item()
            errors[key + ".norm"] = (deltas[key] - rebuilt).norm().item()
    return errors
""",
    "LS302: the words that keys must not have are others": """
import re

def rename_lora(lora_sd):
    converted = {}
    for key in lora_sd:
        if any(word in key for word in ["_te_", "_proj_"]):
            continue
        converted[key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = lora_sd[key]
    return converted
""",
    "LS401: the trainer's own settings": """
def train_lora(base, weights):
    return bake_one(base, weights, {"r": 16, "lora_alpha": 32})

def bake_one(base, weights, adapter_config: dict[str, Any]):
    scale = adapter_config["lora_alpha"] / adapter_config["r"]
    for key in weights:
        if key.endswith(".lora_A.weight"):
            other = key.replace(".lora_A.weight", ".lora_B.weight")
            base[key] = base[key] + scale * (weights[other] @ weights[key])
    return base
""",
    "LS401: the settings of a trainer, from a file": """
import json

def make_lora(path, model):
    settings = json.load(open(path))
    scale = settings["lora_alpha"] / settings["r"]
    return LoraModel(model, scale, settings["target_modules"], ("lora_A", "lora_B"))
""",
    "LS502: the scaling is multiplied onto a factor in place": """
from peft.tuners.lora import LoraLayer

def fold_scaling(model, adapter):
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.lora_B[adapter].weight.data.mul_(module.scaling[adapter])
            module.scaling[adapter] = 1
""",
    "LS114: an average of checkpoints": """
def average(adapters, weights):
    return {key: sum(w * a[key] for w, a in zip(weights, adapters)) for key in adapters[0]}
""",
}


def _codes(source: str, folder: Path) -> list[str]:
    return [finding.code for finding in lint_files(folder, {"script.py": source})]


@pytest.mark.parametrize("name", FIRING)
def test_fires(name: str, tmp_path: Path) -> None:
    assert name[:5] in _codes(FIRING[name], tmp_path)


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert name[:5] not in _codes(SILENT[name], tmp_path)
