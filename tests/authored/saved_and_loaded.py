"""What one side saves is what the other one loads."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "comprehension and default",
        "LS315",
        """
### model.py
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, linear, rank=8, alpha=None):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.randn(rank, linear.in_features) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = (alpha if alpha is not None else rank) / rank

    def forward(self, x):
        return self.linear(x) + (x @ self.lora_A.t() @ self.lora_B.t()) * self.scaling


def inject(model, rank, alpha=None):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, LoRALinear(child, rank, alpha))
        else:
            inject(child, rank, alpha)
### train.py
import argparse

import torch

from model import inject


def run(net):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", type=float, default=16.0)
    p.add_argument("--save", default="out.pt")
    a = p.parse_args()
    inject(net, a.rank, a.alpha)
    torch.save({k: v for k, v in net.state_dict().items() if "lora_" in k}, a.save)  #!
### infer.py
import torch

from model import inject


def prepare(net, path):
    state = torch.load(path)
    rank = next(v for k, v in state.items() if k.endswith("lora_A")).shape[0]
    inject(net, rank)  #!
    net.load_state_dict(state, strict=False)
    return net
""",
        (),
        "medium",
    ),
    Program(
        "fsdp save and resume",
        "LS314",
        """
import torch
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel as FSDP, StateDictType
from torch import nn


class LoraLinear(nn.Module):
    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.r, self.lora_alpha = r, lora_alpha

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.lora_alpha / self.r


def build(model, args):
    for name, m in list(model.named_modules()):
        if name.endswith("q_proj"):
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, LoraLinear(m, args.r, args.lora_alpha))


def save_checkpoint(model, step, args):
    policy = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, policy):
        full = model.state_dict()
    if args.global_rank == 0:
        adapters = {k: v for k, v in full.items() if "lora_" in k}
        torch.save({"adapters": adapters, "step": step, "r": args.r}, f"{args.out}/step{step}.pt")  #!


def resume(model, path):
    ckpt = torch.load(path, map_location="cpu")
    for name, m in list(model.named_modules()):
        if name.endswith("q_proj"):
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, LoraLinear(m, ckpt["r"], ckpt["r"]))  #!
    model.load_state_dict(ckpt["adapters"], strict=False)
    return ckpt["step"]
""",
        (
            ('"r": args.r}', '"r": args.r, "alpha": args.lora_alpha}'),
            ('LoraLinear(m, ckpt["r"], ckpt["r"])', 'LoraLinear(m, ckpt["r"], ckpt["alpha"])'),
        ),
    ),
    Program(
        "alpha written as scale",
        "LS107",
        """
import json

import torch
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, lin, rank, scale):
        super().__init__()
        self.lin = lin
        self.lora_a = nn.Parameter(torch.randn(rank, lin.in_features))
        self.lora_b = nn.Parameter(torch.zeros(lin.out_features, rank))
        self.scale = scale

    def forward(self, x):
        return self.lin(x) + self.scale * (x @ self.lora_a.T @ self.lora_b.T)


def train(model, rank, alpha, folder):
    model.out = Bottleneck(model.out, rank, alpha / rank)
    torch.save({"a": model.out.lora_a, "b": model.out.lora_b}, f"{folder}/adapter.pt")
    with open(f"{folder}/adapter.json", "w") as f:
        json.dump({"rank": rank, "scale": alpha}, f)  #!


def load(model, folder):
    with open(f"{folder}/adapter.json") as f:
        meta = json.load(f)
    model.out = Bottleneck(model.out, meta["rank"], meta["scale"])  #!
    saved = torch.load(f"{folder}/adapter.pt")
    model.out.lora_a.data.copy_(saved["a"])
    model.out.lora_b.data.copy_(saved["b"])
""",
        (('"scale": alpha}', '"scale": alpha / rank}'),),
    ),
    Program(
        "mlx scale named alpha",
        "LS311",
        """
import json

import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    def __init__(self, linear, r=8, scale=20.0):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.scale = scale
        self.lora_a = mx.random.normal((in_dims, r)) * 0.01
        self.lora_b = mx.zeros((r, out_dims))

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)


def save(model, r, scale, folder):
    tensors = {k: v for k, v in model.trainable_parameters().items()}
    mx.save_safetensors(f"{folder}/adapters.safetensors", tensors)
    config = {"peft_type": "LORA", "r": r, "lora_alpha": scale, "target_modules": ["q_proj"]}  #!
    with open(f"{folder}/adapter_config.json", "w") as f:
        json.dump(config, f)
""",
        (('"lora_alpha": scale,', '"lora_alpha": scale * r,'),),
    ),
    Program(
        "peft alpha as mlx scale",
        "LS244",
        """
import json


def mlx_settings(peft_folder, out):
    with open(f"{peft_folder}/adapter_config.json") as f:
        cfg = json.load(f)
    if cfg.get("use_rslora") or cfg.get("alpha_pattern") or cfg.get("rank_pattern"):
        raise ValueError("plain adapters only")
    settings = {
        "fine_tune_type": "lora",
        "num_layers": 16,
        "lora_parameters": {"rank": cfg["r"], "dropout": cfg["lora_dropout"], "scale": cfg["lora_alpha"]},  #!
    }
    with open(f"{out}/adapter_config.json", "w") as f:
        json.dump(settings, f)
""",
        (('"scale": cfg["lora_alpha"]}', '"scale": cfg["lora_alpha"] / cfg["r"]}'),),
        "medium",
    ),
    Program(
        "resume with defaults",
        "LS227",
        '''
import torch
from torch import nn


class Delta(nn.Module):
    def __init__(self, lin, rank=16, alpha=16.0):
        super().__init__()
        self.lin = lin
        self.reduce = nn.Parameter(torch.randn(rank, lin.in_features) / rank)
        self.restore = nn.Parameter(torch.zeros(lin.out_features, rank))
        self.gain = alpha / rank

    def forward(self, x):
        return self.lin(x) + self.gain * torch.nn.functional.linear(torch.nn.functional.linear(x, self.reduce), self.restore)


class Trainer:
    """Trains low-rank deltas (LoRA) of a model."""

    def __init__(self, model, cfg):
        self.model, self.cfg = model, cfg
        model.proj = Delta(model.proj, cfg["rank"], cfg["alpha"])

    def save(self, path):
        torch.save({"reduce": self.model.proj.reduce, "restore": self.model.proj.restore}, path)  #!

    @staticmethod
    def from_checkpoint(model, path):
        data = torch.load(path)
        model.proj = Delta(model.proj, rank=data["reduce"].shape[0])  #!
        model.proj.reduce.data.copy_(data["reduce"])
        model.proj.restore.data.copy_(data["restore"])
        return model
''',
        (),
        "medium",
    ),
    Program(
        "filter drops magnitude",
        "LS408",
        """
import torch
from torch import nn


class DoraLinear(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        self.magnitude = nn.Parameter(base.weight.norm(dim=1))
        self.register_buffer("lora_alpha", torch.tensor(float(alpha)))
        self.r = r

    def forward(self, x):
        w = self.base.weight + self.lora_B @ self.lora_A * (self.lora_alpha / self.r)
        w = w * (self.magnitude / w.norm(dim=1))[:, None]
        return nn.functional.linear(x, w, self.base.bias)


def save(model, path):
    torch.save({k: v for k, v in model.state_dict().items() if "lora_" in k}, path)  #!
""",
        (('if "lora_" in k}', 'if "lora_" in k or "magnitude" in k}'),),
    ),
)
