"""Calls that are given an alpha or a rank for a strength."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "click default alpha",
        "LS504",
        """
import click
from diffsynth import WanVideoPipeline as VideoPipeline


@click.command()
@click.option("--lora", "lora_path")
@click.option("--lora-alpha", default=32.0, type=float)  #!
def main(lora_path, lora_alpha):
    pipe = VideoPipeline.from_pretrained("base")
    pipe.load_lora(pipe.dit, lora_path, alpha=lora_alpha)  #!
    pipe("a cat").save("out.mp4")
""",
        (("default=32.0", "default=1.0"),),
    ),
    Program(
        "fuse by rank",
        "LS501",
        """
import argparse

from diffusers import StableDiffusionPipeline

parser = argparse.ArgumentParser()
parser.add_argument("--rank", type=int, default=4)
parser.add_argument("--weights")
args = parser.parse_args()
pipe = StableDiffusionPipeline.from_pretrained("sd")
pipe.load_lora_weights(args.weights)
pipe.fuse_lora(lora_scale=args.rank)  #!
pipe.save_pretrained("fused")
""",
        (("lora_scale=args.rank", "lora_scale=0.8"),),
    ),
    Program(
        "attention kwargs alpha",
        "LS501",
        """
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig


@dataclass
class Settings:
    rank: int = 8
    lora_alpha: int = 16
    prompt: str = "a dog"


def validate(unet, settings: Settings):
    unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.lora_alpha, target_modules=["to_q"]))
    pipe = StableDiffusionPipeline.from_pretrained("sd", unet=unet)
    return pipe(settings.prompt, cross_attention_kwargs={"scale": settings.lora_alpha}).images  #!
""",
        (('"scale": settings.lora_alpha', '"scale": 1.0'),),
    ),
    Program(
        "cache by path",
        "LS240",
        """
import torch
from safetensors.torch import load_file

_CACHE = {}


def delta_for(path, stem, strength):
    key = (path, stem)
    if key not in _CACHE:
        sd = load_file(path)
        up, down = sd[stem + ".lora_up.weight"], sd[stem + ".lora_down.weight"]
        _CACHE[key] = strength * sd[stem + ".alpha"].item() / down.shape[0] * (up @ down)  #!
    return _CACHE[key]
""",
        (("key = (path, stem)", "key = (path, stem, strength)"),),
        "medium",
    ),
    Program(
        "weighted adapter scaling",
        "LS501",
        """
from peft import PeftModel


def blend(model, first, second):
    model = PeftModel.from_pretrained(model, first, adapter_name="one")
    model.load_adapter(second, adapter_name="two")
    weights = [model.peft_config[n].lora_alpha / model.peft_config[n].r for n in ("one", "two")]
    model.add_weighted_adapter(["one", "two"], weights, "both", combination_type="linear")  #!
    model.set_adapter("both")
    return model
""",
        (
            (
                'weights = [model.peft_config[n].lora_alpha / model.peft_config[n].r for n in ("one", "two")]',
                "weights = [0.5, 0.5]",
            ),
        ),
    ),
    Program(
        "loop of requests",
        "LS501",
        """
from diffusers import StableDiffusionXLPipeline

STYLES = {
    "ink": {"file": "ink.safetensors", "rank": 16, "alpha": 8},
    "oil": {"file": "oil.safetensors", "rank": 32, "alpha": 32},
}


def serve(prompts):
    pipe = StableDiffusionXLPipeline.from_pretrained("sdxl")
    for name, style in STYLES.items():
        pipe.load_lora_weights(style["file"], adapter_name=name)
    for name, prompt in prompts:
        pipe.set_adapters(name, STYLES[name]["alpha"])  #!
        yield pipe(prompt).images[0]
""",
        (('STYLES[name]["alpha"])', "1.0)"),),
    ),
    Program(
        "own linear multiplier",
        "LS501",
        """
import torch
from torch import nn


class Injected(nn.Module):
    def __init__(self, host, down, up, multiplier=1.0):
        super().__init__()
        self.host, self.multiplier = host, multiplier
        self.register_buffer("down", down)
        self.register_buffer("up", up)

    def forward(self, x):
        return self.host(x) + self.multiplier * (x @ self.down.T @ self.up.T)


def plug_lora(model, sd, multiplier):
    for name, module in list(model.named_modules()):
        if f"{name}.lora_down.weight" in sd:
            down, up = sd[f"{name}.lora_down.weight"], sd[f"{name}.lora_up.weight"]
            up = up * (sd[f"{name}.alpha"].item() / down.shape[0])
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, Injected(module, down, up, multiplier))


def main(model, sd, args):
    plug_lora(model, sd, multiplier=args.network_dim)  #!
""",
        (("multiplier=args.network_dim", "multiplier=args.strength"),),
    ),
)
