"""LS310 over the ways in which scripts pair, gather and merge the tensors of an adapter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FIRING = {
    "a PEFT folder, keys cut by length": r"""import json, os, torch
from safetensors.torch import load_file

def merge(base_path, adapter_path, out):
    with open(os.path.join(adapter_path, "adapter_config.json")) as f:
        config = json.load(f)
    rank = config["r"]
    base = load_file(base_path)
    lora = load_file(os.path.join(adapter_path, "adapter_model.safetensors"))
    for key in list(lora.keys()):
        if not key.endswith(".lora_A.weight"):
            continue
        name = key[: -len(".lora_A.weight")]
        A = lora[name + ".lora_A.weight"]
        B = lora[name + ".lora_B.weight"]
        base[name + ".weight"] += B @ A
    torch.save(base, out)
""",
    "a PEFT prefix kept as a constant": r"""import torch
from safetensors.torch import load_file, save_file

PREFIX = "base_model.model."

def merge_adapter(model_sd, adapter_dir):
    tensors = load_file(f"{adapter_dir}/adapter_model.safetensors")
    modules = {k.rsplit(".lora_", 1)[0] for k in tensors if ".lora_" in k}
    for module in modules:
        a = tensors[f"{module}.lora_A.weight"]
        b = tensors[f"{module}.lora_B.weight"]
        target = module.removeprefix(PREFIX) + ".weight"
        model_sd[target] = model_sd[target] + torch.matmul(b, a)
    return model_sd
""",
    "kohya keys by partition": r"""import torch
from safetensors.torch import load_file

def bake(unet_sd, path, weight=1.0):
    sd = load_file(path)
    for key, value in sd.items():
        name, _, tail = key.partition(".")
        if tail != "lora_down.weight":
            continue
        up = sd[name + ".lora_up.weight"]
        delta = up.float() @ value.float()
        unet_sd[name] = unet_sd[name] + weight * delta
    return unet_sd
""",
    "pairs gathered by a regular expression": r"""import re
import torch
from safetensors import safe_open

PATTERN = re.compile(r"(?P<module>.*)\.lora_(?P<kind>up|down)\.weight")

def load_pairs(path):
    pairs = {}
    with safe_open(path, framework="pt") as f:
        for key in f.keys():
            m = PATTERN.match(key)
            if m is None:
                continue
            pairs.setdefault(m.group("module"), {})[m.group("kind")] = f.get_tensor(key)
    return pairs

def apply_lora(model_sd, path, strength=1.0):
    for module, pair in load_pairs(path).items():
        model_sd[module + ".weight"] += strength * (pair["up"] @ pair["down"])
    return model_sd
""",
    "nested dictionaries of layers": r"""from collections import defaultdict
import torch
from safetensors.torch import load_file

def merge_lora_into(model, lora_path, multiplier=1.0):
    state_dict = load_file(lora_path)
    updates = defaultdict(dict)
    for key, value in state_dict.items():
        layer, elem = key.split(".", 1)
        updates[layer][elem] = value
    modules = {n.replace(".", "_"): m for n, m in model.named_modules()}
    for layer, elems in updates.items():
        module = modules[layer]
        weight_up = elems["lora_up.weight"].to(torch.float32)
        weight_down = elems["lora_down.weight"].to(torch.float32)
        if len(weight_up.shape) == 4:
            product = torch.mm(weight_up.squeeze(), weight_down.squeeze())
            module.weight.data += multiplier * product.unsqueeze(2).unsqueeze(3)
        else:
            module.weight.data += multiplier * torch.mm(weight_up, weight_down)
""",
    "lists of factors, zipped": r"""import torch
from safetensors.torch import load_file

def fuse(sd, lora_file, ratio):
    lora = load_file(lora_file)
    downs = [lora[k] for k in sorted(lora) if "lora_down" in k]
    ups = [lora[k] for k in sorted(lora) if "lora_up" in k]
    names = [k.split(".lora_down")[0] for k in sorted(lora) if "lora_down" in k]
    for name, down, up in zip(names, downs, ups):
        sd[name + ".weight"] += ratio * (up @ down)
    return sd
""",
    "numpy and format": r"""import json
import numpy as np
from safetensors.numpy import load_file, save_file

def merge_lora_np(base_file, adapter_dir, n_layers, out):
    cfg = json.loads(open(adapter_dir + "/adapter_config.json").read())
    targets = cfg["target_modules"]
    base = load_file(base_file)
    ada = load_file(adapter_dir + "/adapter_model.safetensors")
    for i in range(n_layers):
        for t in targets:
            stem = "model.layers.{}.self_attn.{}".format(i, t)
            a = ada["base_model.model." + stem + ".lora_A.weight"].astype(np.float32)
            b = ada["base_model.model." + stem + ".lora_B.weight"].astype(np.float32)
            base[stem + ".weight"] = base[stem + ".weight"] + np.dot(b, a)
    save_file(base, out)
""",
    "jax and einsum": r"""import jax.numpy as jnp
from safetensors.flax import load_file

def merge_params(params, adapter_dir):
    flat = load_file(adapter_dir + "/adapter_model.safetensors")
    for key in flat:
        if key.endswith("lora_A.weight"):
            module = key.replace(".lora_A.weight", "")
            lora_a = flat[key]
            lora_b = flat[module + ".lora_B.weight"]
            params[module] = params[module] + jnp.einsum("or,ri->oi", lora_b, lora_a)
    return params
""",
    "shards read with safe_open": r"""import glob, json, os
import torch
from safetensors import safe_open
from safetensors.torch import save_file

def main(base_dir, lora_dir, out_dir):
    lora = torch.load(os.path.join(lora_dir, "adapter_model.bin"), map_location="cpu")
    for shard in sorted(glob.glob(base_dir + "/*.safetensors")):
        tensors = {}
        with safe_open(shard, framework="pt", device="cpu") as f:
            for name in f.keys():
                w = f.get_tensor(name)
                prefix = "base_model.model." + name.removesuffix(".weight")
                a_key, b_key = prefix + ".lora_A.weight", prefix + ".lora_B.weight"
                if a_key in lora and b_key in lora:
                    w = w + lora[b_key].to(w) @ lora[a_key].to(w)
                tensors[name] = w
        save_file(tensors, os.path.join(out_dir, os.path.basename(shard)))
""",
    "addmm_ and a fixed slice": r"""import torch
from safetensors.torch import load_file

def merge(model, path, strength):
    sd = load_file(path)
    params = dict(model.named_parameters())
    for key in sd:
        if key.endswith(".lora_up.weight"):
            name = key[:-15]
            params[name + ".weight"].data.addmm_(sd[key], sd[name + ".lora_down.weight"], alpha=strength)
""",
    "torch.add with its own alpha": r"""import torch
from safetensors.torch import load_file

def merge(model, path, strength):
    sd = load_file(path)
    weights = model.state_dict()
    for key in sd.keys():
        if ".lora_down." in key:
            up = sd[key.replace(".lora_down.", ".lora_up.")]
            target = key.split(".lora_down.")[0] + ".weight"
            weights[target] = torch.add(weights[target], torch.mm(up, sd[key]), alpha=strength)
    model.load_state_dict(weights)
""",
    "a helper that looks both up": r"""import torch
from safetensors.torch import load_file

def delta_of(sd, name):
    up = sd[f"{name}.lora_up.weight"]
    down = sd[f"{name}.lora_down.weight"]
    return up @ down

def merge(model_sd, path, multiplier=1.0):
    sd = load_file(path)
    for name in {k.split(".")[0] for k in sd}:
        model_sd[name] += delta_of(sd, name) * multiplier
    return model_sd
""",
    "a helper that multiplies them": r"""import torch
from safetensors.torch import load_file

def lora_delta(up, down):
    if up.dim() == 4:
        return torch.nn.functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
    return up @ down

def merge(model_sd, path, multiplier=1.0):
    sd = load_file(path)
    for name in {k.split(".")[0] for k in sd}:
        up = sd[f"{name}.lora_up.weight"]
        down = sd[f"{name}.lora_down.weight"]
        model_sd[name] += multiplier * lora_delta(up, down)
    return model_sd
""",
    "alpha in a tuple of skipped suffixes": r"""import torch
from safetensors.torch import load_file

def merge(model_sd, path, multiplier=1.0):
    lora = load_file(path)
    for key in lora:
        if key.endswith((".alpha", ".lora_B.weight")):
            continue
        base = key.removesuffix(".lora_A.weight")
        model_sd[base] += multiplier * lora[base + ".lora_B.weight"] @ lora[key]
""",
    "a dataclass of the configuration without alpha": r"""import json, os
from dataclasses import dataclass
import torch
from safetensors.torch import load_file

@dataclass
class AdapterConfig:
    r: int
    target_modules: list

    @classmethod
    def from_dir(cls, path):
        with open(os.path.join(path, "adapter_config.json")) as f:
            raw = json.load(f)
        return cls(r=raw["r"], target_modules=raw["target_modules"])

class Merger:
    def __init__(self, path):
        self.config = AdapterConfig.from_dir(path)
        self.weights = load_file(os.path.join(path, "adapter_model.safetensors"))

    def apply(self, model):
        for name, module in model.named_modules():
            if name.split(".")[-1] not in self.config.target_modules:
                continue
            A = self.weights[f"base_model.model.{name}.lora_A.weight"]
            B = self.weights[f"base_model.model.{name}.lora_B.weight"]
            module.weight.data.add_(B @ A)
""",
    "alpha read and printed": r"""import json
import torch

def merge(model_sd, adapter_dir):
    config = json.load(open(adapter_dir + "/adapter_config.json"))
    r, lora_alpha = config["r"], config["lora_alpha"]
    print(f"merging rank {r}, alpha {lora_alpha}")
    lora = torch.load(adapter_dir + "/adapter_model.bin")
    for k, a in lora.items():
        if "lora_A" not in k:
            continue
        b = lora[k.replace("lora_A", "lora_B")]
        model_sd[k.split(".lora_A")[0] + ".weight"] += b @ a
    return model_sd
""",
    "an alpha parameter that nobody uses": r"""import argparse
import torch
from safetensors.torch import load_file, save_file

def merge(base, lora, rank, alpha):
    out = dict(base)
    for k in base:
        stem = k[: -len(".weight")]
        a = lora.get(stem + ".lora_A.weight")
        b = lora.get(stem + ".lora_B.weight")
        if a is None or b is None:
            continue
        out[k] = base[k] + b @ a
    return out

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=32)
    args = parser.parse_args()
    merged = merge(load_file("base.safetensors"), load_file("lora.safetensors"), args.rank, args.alpha)
    save_file(merged, "merged.safetensors")
""",
    "linear_in, linear_out and an alpha at hand": r"""import torch

def merge_megatron_lora(base_sd, adapter_sd, config):
    rank = config.adapter_dim
    alpha = config.alpha
    for key in list(base_sd):
        a_key = key.replace(".weight", ".adapter.linear_in.weight")
        b_key = key.replace(".weight", ".adapter.linear_out.weight")
        if a_key in adapter_sd:
            base_sd[key] = base_sd[key] + adapter_sd[b_key] @ adapter_sd[a_key]
    return base_sd
""",
    "an unused alpha beside a dimension": r"""import torch

def merge(base_model_state_dict, lora_state_dict, num_layers, alpha, lora_dim):
    for nl in range(num_layers):
        key_lora_in = f"model.layers.{nl}.lora_kqv_adapter.linear_in.weight"
        key_lora_out = f"model.layers.{nl}.lora_kqv_adapter.linear_out.weight"
        key_base = f"model.layers.{nl}.query_key_value.weight"
        wt_lora = lora_state_dict[key_lora_out] @ lora_state_dict[key_lora_in]
        base_model_state_dict[key_base] = base_model_state_dict[key_base] + wt_lora
    return base_model_state_dict
""",
    "factors kept by a class and applied": r"""import json, os
import torch
from safetensors.torch import load_file

class LoRAModule:
    def __init__(self, config):
        self.rank = config["r"]
        self.lora_a, self.lora_b = {}, {}

    def load(self, path):
        weights = load_file(os.path.join(path, "adapter_model.safetensors"))
        for name, tensor in weights.items():
            if "lora_A" in name:
                self.lora_a[name.split(".lora_A")[0]] = tensor
            elif "lora_B" in name:
                self.lora_b[name.split(".lora_B")[0]] = tensor

    def forward(self, name, x, base_out):
        return base_out + (x @ self.lora_a[name].T) @ self.lora_b[name].T

def load_adapter(path):
    with open(os.path.join(path, "adapter_config.json")) as f:
        config = json.load(f)
    module = LoRAModule(config)
    module.load(path)
    return module
""",
    "suffixes tried with any": r"""import torch
from safetensors.torch import load_file
SUFFIXES = (".lora_up.weight", ".lora_down.weight")

def load(path):
    sd = load_file(path)
    groups = {}
    for k, v in sd.items():
        if not any(k.endswith(s) for s in SUFFIXES):
            continue
        module, _, kind = k.rpartition(".lora_")
        groups.setdefault(module, {})[kind] = v
    return groups

def merge(model, path, s=1.0):
    for module, g in load(path).items():
        w = model.get_submodule(module).weight
        w.data = w.data + s * torch.mm(g["up.weight"], g["down.weight"])
""",
    "keys matched by a match statement": r"""import torch
from safetensors.torch import load_file

def merge(model_sd, path, s=1.0):
    downs, ups = {}, {}
    for key, value in load_file(path).items():
        match key.split("."):
            case [module, "lora_down", "weight"]:
                downs[module] = value
            case [module, "lora_up", "weight"]:
                ups[module] = value
            case [_, "alpha"]:
                pass
    for module in downs:
        model_sd[module] += s * (ups[module] @ downs[module])
""",
    "two comprehensions": r"""import torch
from safetensors.torch import load_file

def merge(model_sd, path, s=1.0):
    sd = load_file(path)
    down = {k[:-17]: v for k, v in sd.items() if k.endswith(".lora_down.weight")}
    up = {k[:-15]: v for k, v in sd.items() if k.endswith(".lora_up.weight")}
    for name in down:
        model_sd[name] = model_sd[name] + s * (up[name] @ down[name])
""",
    "alpha popped and thrown away": r"""import torch

@torch.no_grad()
def apply(model, sd, strength: float = 1.0):
    for name, param in model.named_parameters():
        key = "lora_unet_" + name.replace(".weight", "").replace(".", "_")
        down = sd.pop(key + ".lora_down.weight", None)
        if down is None:
            continue
        up = sd.pop(key + ".lora_up.weight")
        sd.pop(key + ".alpha", None)
        param.copy_(param + strength * (up @ down))
""",
    "alpha of a YAML file read and not used": r"""import yaml
import torch
from safetensors.torch import load_file

def merge(base_sd, run_dir):
    with open(run_dir + "/config.yaml") as f:
        cfg = yaml.safe_load(f)
    rank = cfg["lora"]["rank"]
    alpha = cfg["lora"]["alpha"]
    lora = load_file(run_dir + "/lora.safetensors")
    for key in lora:
        if key.endswith("lora_A.weight"):
            name = key[:-14]
            base_sd[name] = base_sd[name] + lora[name + ".lora_B.weight"] @ lora[key]
    return base_sd
""",
    "a script without functions": r"""import sys
import torch
from safetensors.torch import load_file, save_file

base = load_file(sys.argv[1])
lora = load_file(sys.argv[2] + "/adapter_model.safetensors")
for key in lora:
    if key.endswith(".lora_A.weight"):
        name = key.replace(".lora_A.weight", "")
        base[name] += lora[name + ".lora_B.weight"] @ lora[key]
save_file(base, sys.argv[3])
""",
    "the main block of a script": r"""import argparse
import torch
from safetensors.torch import load_file, save_file

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratio", type=float, default=1.0)
    args = parser.parse_args()
    model = torch.load("model.ckpt")
    lora_sd = load_file("lora.safetensors")
    for key in model["state_dict"]:
        name = "lora_unet_" + key.replace(".", "_")
        if name + ".lora_up.weight" in lora_sd:
            up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
            model["state_dict"][key] += args.ratio * torch.mm(up.float(), down.float())
    torch.save(model, "out.ckpt")
""",
}

KOHYA = FIRING["kohya keys by partition"]
PEFT = FIRING["a PEFT folder, keys cut by length"]
AT_HAND = FIRING["an unused alpha beside a dimension"]
KEPT = FIRING["factors kept by a class and applied"]
REGEX = FIRING["pairs gathered by a regular expression"]
SCRIPT = FIRING["the main block of a script"]
SILENT = {
    "alpha of the module": KOHYA.replace(
        "weight * delta", 'weight * sd[name + ".alpha"] / value.shape[0] * delta'
    ),
    "alpha of the configuration": PEFT.replace("+= B @ A", '+= B @ A * (config["lora_alpha"] / rank)'),
    "alpha of the configuration, by a helper": PEFT.replace("+= B @ A", "+= B @ A * ratio(config)")
    + '\n\ndef ratio(config):\n    return config["lora_alpha"] / config["r"]\n',
    "alpha of an object that the file does not show": PEFT.replace("+= B @ A", "+= B @ A * scale_of(config)"),
    "a refusal of other alphas": PEFT.replace(
        '    rank = config["r"]', '    rank = config["r"]\n    assert config["lora_alpha"] == rank'
    ),
    "an alpha that is used": AT_HAND.replace("+ wt_lora", "+ wt_lora * (alpha / lora_dim)"),
    "an alpha that goes into a product before": AT_HAND.replace(
        "lora_state_dict[key_lora_out] @", "(lora_state_dict[key_lora_out] * (alpha / lora_dim)) @"
    ),
    "a multiplier called alpha": AT_HAND.replace("+ wt_lora", "+ alpha * wt_lora"),
    "factors folded where they are kept": KEPT.replace(
        'self.lora_b[name.split(".lora_B")[0]] = tensor',
        'self.lora_b[name.split(".lora_B")[0]] = tensor * self.strength',
    ),
    "factors kept by a class that has a scaling": KEPT.replace(
        "return base_out + ", "return base_out + self.scaling * "
    ),
    "pairs with their alpha": REGEX.replace("up|down", "up|down|alpha").replace(
        'strength * (pair["up"] @ pair["down"])',
        'strength * pair["alpha"] / len(pair["down"]) * (pair["up"] @ pair["down"])',
    ),
    "keys of a format without alpha": KOHYA.replace("lora_down", "lora_A").replace("lora_up", "lora_B"),
    "a strength that may be the whole adapter's scale": PEFT.replace(
        "def merge(", "def merge(scale, "
    ).replace("+= B @ A", "+= scale * (B @ A)"),
    "a script that uses alpha": SCRIPT.replace(
        "args.ratio *", 'args.ratio * lora_sd[name + ".alpha"] / down.shape[0] *'
    ),
    "a table of something else": """
def attend(lora_tables, scores):
    for name, pair in lora_tables.items():
        scores[name] += pair["query"] @ pair["key"]
    return scores
""",
    "factors of a class, not of a dictionary": """
class LoRALinear:
    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B
""",
    "a table that another library fills": """
def merge(model_sd, name):
    lora = prepare_adapter(name, "adapter_model.safetensors")
    for key in model_sd:
        model_sd[key] += lora[key + ".lora_B.weight"] @ lora[key + ".lora_A.weight"]
""",
}


@pytest.mark.parametrize("name", FIRING)
def test_fires(name: str, tmp_path: Path) -> None:
    assert "LS310" in [finding.code for finding in lint_files(tmp_path, {"merge.py": FIRING[name]})]


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert "LS310" not in [finding.code for finding in lint_files(tmp_path, {"merge.py": SILENT[name]})]
