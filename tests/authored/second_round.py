"""A second round: filters, caches, strengths that a pipeline is told twice."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "next iter alpha",
        "LS307",
        """
from safetensors.torch import load_file


def merge(model, path):
    sd = load_file(path)
    alpha = next(float(v) for k, v in sd.items() if k.endswith(".alpha"))  #!
    for k in [k for k in sd if k.endswith(".lora_down.weight")]:
        stem = k[: -len(".lora_down.weight")]
        down, up = sd[k], sd[stem + ".lora_up.weight"]
        model.get_submodule(stem).weight.data += alpha / down.shape[0] * (up @ down)  #!
""",
        (
            ('alpha = next(float(v) for k, v in sd.items() if k.endswith(".alpha"))', "pass"),
            ("    down, up = sd[k]", '    alpha = float(sd[stem + ".alpha"])\n        down, up = sd[k]'),
        ),
    ),
    Program(
        "first seen wins",
        "LS307",
        """
import torch


def collect(sd):
    alpha, pairs = None, {}
    for key, value in sd.items():
        if key.endswith(".alpha"):
            if alpha is None:
                alpha = value.item()  #!
        else:
            stem, _, part = key.partition(".lora_")
            pairs.setdefault(stem, {})[part.split(".")[0]] = value
    return alpha, pairs


def merge(weights, sd):
    alpha, pairs = collect(sd)
    for stem, pair in pairs.items():
        weights[stem + ".weight"] += alpha / pair["down"].shape[0] * pair["up"] @ pair["down"]  #!
""",
        (),
    ),
    Program(
        "magnitude dropped by copy",
        "LS408",
        """
import torch
from safetensors.torch import load_file, save_file


def to_plain(path, out):
    sd = load_file(path)
    new = {}
    for k, v in sd.items():
        if ".lora_A." in k or ".lora_B." in k:  #!
            new[k.replace("base_model.model.", "").replace("lora_magnitude_vector", "dora_scale")] = v
    save_file(new, out)
""",
        (),
        "medium",
    ),
    Program(
        "eval script literal",
        "LS315",
        """
### train.py
import argparse

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict


def main(model):
    p = argparse.ArgumentParser()
    p.add_argument("--lora_r", type=int, default=64)
    p.add_argument("--lora_alpha", type=int, default=128)
    a = p.parse_args()
    model = get_peft_model(model, LoraConfig(r=a.lora_r, lora_alpha=a.lora_alpha, target_modules=["q_proj"]))
    torch.save(get_peft_model_state_dict(model), "out/adapter.pt")
### evaluate.py
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict


def load(model):
    model = get_peft_model(model, LoraConfig(r=64, lora_alpha=16, target_modules=["q_proj"]))  #!
    set_peft_model_state_dict(model, torch.load("out/adapter.pt"))
    return model.eval()
""",
        (),
        "medium",
    ),
    Program(
        "fsdp full state",
        "LS314",
        """
import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def train(model, args):
    config = LoraConfig(r=args.rank, lora_alpha=args.alpha, target_modules=["q_proj"])
    model = get_peft_model(model, config)
    fit(model, args)
    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    lora = {k.replace("base_model.model.", ""): v for k, v in full.items() if "lora" in k}
    torch.save(lora, args.out + "/lora.pt")  #!
""",
        (),
        "medium",
    ),
    Program(
        "strength key of cache",
        "LS240",
        """
from functools import lru_cache

from safetensors.torch import load_file


class Switcher:
    def __init__(self, model):
        self.model, self.loaded = model, {}

    def use(self, path, weight):
        if path in self.loaded:  #!
            return self.loaded[path]
        sd = load_file(path)
        deltas = {}
        for k in [k for k in sd if k.endswith(".alpha")]:
            stem = k[:-6]
            down, up = sd[stem + ".lora_down.weight"], sd[stem + ".lora_up.weight"]
            deltas[stem] = weight * sd[k].item() / down.shape[0] * (up @ down)
        self.loaded[path] = deltas
        return deltas
""",
        (
            ("if path in self.loaded:", "if (path, weight) in self.loaded:"),
            ("return self.loaded[path]", "return self.loaded[path, weight]"),
            ("self.loaded[path] = deltas", "self.loaded[path, weight] = deltas"),
        ),
        "medium",
    ),
    Program(
        "set adapters and scale",
        "LS118",
        """
from diffusers import StableDiffusionXLPipeline


def render(pipe, prompt, weight):
    pipe.load_lora_weights("ink.safetensors", adapter_name="ink")
    pipe.set_adapters(["ink"], adapter_weights=[weight])
    return pipe(prompt, cross_attention_kwargs={"scale": weight}).images[0]  #!
""",
        (('cross_attention_kwargs={"scale": weight}', 'cross_attention_kwargs={"scale": 1.0}'),),
    ),
    Program(
        "set then fuse",
        "LS118",
        """
def bake(pipe, names, strengths, out):
    pipe.set_adapters(names, adapter_weights=strengths)
    for name, strength in zip(names, strengths):
        pipe.fuse_lora(adapter_names=[name], lora_scale=strength)  #!
    pipe.save_pretrained(out)


def main():
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained("flux")
    pipe.load_lora_weights("a.safetensors", adapter_name="a")
    bake(pipe, ["a"], [0.7], "out")
""",
        (("lora_scale=strength", "lora_scale=1.0"),),
    ),
)
