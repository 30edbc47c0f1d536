"""A contract is read whole: rsLoRA and patterns go along with alpha and rank."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "click fold dataclass",
        "LS401",
        """
import json
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from safetensors.torch import load_file, save_file


@dataclass
class AdapterSpec:
    rank: int
    alpha: float

    @classmethod
    def from_folder(cls, folder):
        raw = json.loads((Path(folder) / "adapter_config.json").read_text())
        return cls(rank=raw["r"], alpha=raw["lora_alpha"])  #!

    @property
    def factor(self):
        return self.alpha / self.rank


@click.command()
@click.argument("base")
@click.argument("folder")
@click.argument("out")
def fold(base, folder, out):
    weights = load_file(base)
    spec = AdapterSpec.from_folder(folder)
    pairs = load_file(Path(folder) / "adapter_model.safetensors")
    for key in pairs:
        if key.endswith(".lora_A.weight"):
            stem = key[: -len(".lora_A.weight")]
            name = stem.removeprefix("base_model.model.") + ".weight"
            weights[name] += spec.factor * pairs[stem + ".lora_B.weight"] @ pairs[key]
    save_file(weights, out)
""",
        (
            (
                'return cls(rank=raw["r"], alpha=raw["lora_alpha"])',
                'if raw.get("use_rslora") or raw.get("rank_pattern") or raw.get("alpha_pattern"):\n            raise ValueError("not supported")\n        return cls(rank=raw["r"], alpha=raw["lora_alpha"])',
            ),
        ),
        "medium",
    ),
    Program(
        "two configs into one",
        "LS213",
        '''
from peft import LoraConfig, PeftConfig


def joined_config(first_path, second_path):
    """Configuration for the concatenation of two adapters."""
    one = PeftConfig.from_pretrained(first_path)
    two = PeftConfig.from_pretrained(second_path)
    rank = one.r + two.r
    return LoraConfig(
        r=rank,
        lora_alpha=one.lora_alpha * rank / one.r,  #!
        target_modules=sorted(set(one.target_modules) | set(two.target_modules)),
        task_type=one.task_type,
    )
''',
        (
            (
                "rank = one.r + two.r",
                'if one.use_rslora or two.use_rslora or one.rank_pattern or two.rank_pattern or one.alpha_pattern or two.alpha_pattern:\n        raise ValueError("plain adapters only")\n    rank = one.r + two.r',
            ),
        ),
        "medium",
    ),
    Program(
        "option never passed",
        "LS409",
        """
import argparse

from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--model")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--lora_alpha", type=int, default=32)
    p.add_argument("--use_rslora", action="store_true")  #!
    return p.parse_args()


def main():
    args = parse()
    model = AutoModelForCausalLM.from_pretrained(args.model)
    cfg = LoraConfig(r=args.rank, lora_alpha=args.lora_alpha, target_modules=["q_proj", "v_proj"])  #!
    model = get_peft_model(model, cfg)
    model.print_trainable_parameters()
    return model
""",
        (
            (
                "lora_alpha=args.lora_alpha, target",
                "lora_alpha=args.lora_alpha, use_rslora=args.use_rslora, target",
            ),
        ),
        "medium",
    ),
    Program(
        "project dataclass written",
        "LS402",
        """
import json
from dataclasses import dataclass, field

import torch


@dataclass
class TuneConfig:
    rank: int = 16
    alpha: float = 32.0
    rank_stabilized: bool = False
    targets: list = field(default_factory=lambda: ["q_proj"])


class LowRankLinear(torch.nn.Module):
    def __init__(self, base, cfg):
        super().__init__()
        self.base = base
        self.lora_A = torch.nn.Parameter(torch.randn(cfg.rank, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, cfg.rank))
        self.scaling = cfg.alpha / (cfg.rank**0.5 if cfg.rank_stabilized else cfg.rank)

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling


def export(model, cfg, folder):
    state = {f"base_model.model.{k}.weight": v for k, v in model.state_dict().items() if "lora_" in k}
    torch.save(state, f"{folder}/adapter_model.bin")
    described = {"peft_type": "LORA", "r": cfg.rank, "lora_alpha": cfg.alpha, "target_modules": cfg.targets}  #!
    with open(f"{folder}/adapter_config.json", "w") as handle:
        json.dump(described, handle)
""",
        (('"lora_alpha": cfg.alpha,', '"lora_alpha": cfg.alpha, "use_rslora": cfg.rank_stabilized,'),),
    ),
    Program(
        "expert stack ignores pattern",
        "LS401",
        '''
import torch


def stack_experts(config, state, n_experts, block):
    """One batched delta for all experts of a block from a PEFT adapter."""
    scale = config["lora_alpha"] / config["r"]  #!
    downs, ups = [], []
    for i in range(n_experts):
        stem = f"base_model.model.model.layers.{block}.mlp.experts.{i}.up_proj"
        downs.append(state[stem + ".lora_A.weight"])
        ups.append(state[stem + ".lora_B.weight"])
    return torch.bmm(torch.stack(ups), torch.stack(downs)) * scale
''',
        (
            (
                'scale = config["lora_alpha"] / config["r"]',
                'if config.get("rank_pattern") or config.get("alpha_pattern"):\n        raise NotImplementedError("one rank for all experts")\n    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])',
            ),
        ),
    ),
    Program(
        "jax flag in one layer",
        "LS409",
        """
import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    rank: int
    alpha: float
    rank_stabilized: bool = False


class AdaptedDense(nn.Module):
    features: int
    cfg: AdaptConfig

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(self.features)(x)
        a = self.param("lora_a", nn.initializers.normal(), (x.shape[-1], self.cfg.rank))
        b = self.param("lora_b", nn.initializers.zeros, (self.cfg.rank, self.features))
        root = math.sqrt(self.cfg.rank) if self.cfg.rank_stabilized else self.cfg.rank
        return y + x @ a @ b * (self.cfg.alpha / root)


class AdaptedEmbed(nn.Module):
    vocab: int
    features: int
    cfg: AdaptConfig

    @nn.compact
    def __call__(self, ids):
        table = self.param("table", nn.initializers.normal(), (self.vocab, self.features))
        a = self.param("lora_a", nn.initializers.zeros, (self.vocab, self.cfg.rank))
        b = self.param("lora_b", nn.initializers.normal(), (self.cfg.rank, self.features))
        return table[ids] + a[ids] @ b * (self.cfg.alpha / self.cfg.rank)  #!
""",
        (
            (
                "a[ids] @ b * (self.cfg.alpha / self.cfg.rank)",
                "a[ids] @ b * (self.cfg.alpha / (math.sqrt(self.cfg.rank) if self.cfg.rank_stabilized else self.cfg.rank))",
            ),
        ),
    ),
    Program(
        "shrink copies config",
        "LS213",
        """
import copy

import torch


def shrunk(config, state, rank):
    new = copy.deepcopy(config)
    new.lora_alpha = config.lora_alpha * rank / config.r  #!
    new.r = rank
    out = {}
    for key in [k for k in state if "lora_A" in k]:
        other = key.replace("lora_A", "lora_B")
        u, s, vh = torch.linalg.svd(state[other] @ state[key], full_matrices=False)
        out[other] = u[:, :rank] * s[:rank]
        out[key] = vh[:rank]
    return new, out
""",
        (
            (
                "new = copy.deepcopy(config)",
                'if config.use_rslora or config.rank_pattern or config.alpha_pattern:\n        raise ValueError("only plain adapters")\n    new = copy.deepcopy(config)',
            ),
        ),
        "medium",
    ),
    Program(
        "mlx from peft config",
        "LS401",
        """
import json

import mlx.core as mx


def convert(folder, out):
    with open(folder / "adapter_config.json") as f:
        peft = json.load(f)
    weights = mx.load(str(folder / "adapter_model.safetensors"))
    tensors = {}
    for k, v in weights.items():
        k = k.removeprefix("base_model.model.")
        k = k.replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b")
        tensors[k] = v.T
    settings = {
        "fine_tune_type": "lora",
        "num_layers": -1,
        "lora_parameters": {"rank": peft["r"], "scale": peft["lora_alpha"] / peft["r"], "dropout": 0.0},  #!
    }
    mx.save_safetensors(str(out / "adapters.safetensors"), tensors)
    (out / "adapter_config.json").write_text(json.dumps(settings))
""",
        (
            (
                "weights = mx.load",
                'if peft.get("use_rslora") or peft.get("rank_pattern") or peft.get("alpha_pattern"):\n        raise SystemExit("not plain")\n    weights = mx.load',
            ),
        ),
    ),
)
