"""LoRA programs as people write them, each with a description of it."""

from __future__ import annotations

from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    Case,
    Form,
    FunctionCase,
    Geometry,
    LayerCase,
    Place,
    Role,
    Value,
)

FILE = "program.py"


def of(role: Role, **more: object) -> Value:
    return Value(role, **more)  # type: ignore[arg-type]


def arguments(**roles: Role | Value) -> tuple[tuple[str, Value], ...]:
    return tuple((name, item if isinstance(item, Value) else Value(item)) for name, item in roles.items())


def table(**parts: Role | Value) -> Value:
    return Value(Role.TABLE, parts=arguments(**parts))


def place(name: str, action: Action = Action.MERGE) -> Place:
    return Place(FILE, name, 1, action)


PLAIN = """
import numpy as np

def merge(weight, up, down, alpha=None):
    scale = 1.0 if alpha is None else alpha / down.shape[0]
    return weight + scale * (up @ down)
"""
PLAIN_CASE = FunctionCase(
    place("merge"), arguments(weight=Role.BASE, up=Role.B, down=Role.A, alpha=Role.ALPHA)
)

KOHYA = """
import torch

def merge_lora(model, lora, multiplier=1.0):
    for key in list(lora):
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        down, up = lora[key], lora[name + ".lora_up.weight"]
        alpha = lora.get(name + ".alpha")
        scale = 1.0 if alpha is None else alpha.item() / down.shape[0]
        for full, weight in model.items():
            if full.replace(".", "_") == name.removeprefix("lora_unet_") + "_weight":
                weight += multiplier * scale * (up @ down)
"""
KOHYA_CASE = FunctionCase(
    place("merge_lora"),
    arguments(
        model=Value(Role.TABLE, parts=(("{module}.weight", of(Role.BASE)),)),
        lora=Value(
            Role.TABLE,
            parts=(
                ("lora_unet_{flat_module}.lora_down.weight", of(Role.A)),
                ("lora_unet_{flat_module}.lora_up.weight", of(Role.B)),
                ("lora_unet_{flat_module}.alpha", of(Role.ALPHA, form=Form.TENSOR)),
            ),
        ),
        multiplier=Role.STRENGTH,
    ),
    modules=2,
)

PEFT_LIKE = """
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self, base_layer, adapter_name, r, lora_alpha, use_rslora=False):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A, self.lora_B = nn.ModuleDict(), nn.ModuleDict()
        self.scaling, self.trained = {}, {}
        self.merged = False
        self.update_layer(adapter_name, r, lora_alpha, use_rslora)

    def update_layer(self, adapter_name, r, lora_alpha, use_rslora):
        self.lora_A[adapter_name] = nn.Linear(self.base_layer.in_features, r, bias=False)
        self.lora_B[adapter_name] = nn.Linear(r, self.base_layer.out_features, bias=False)
        self.trained[adapter_name] = lora_alpha / (r**0.5 if use_rslora else r)
        self.scaling[adapter_name] = self.trained[adapter_name]

    def set_scale(self, adapter, scale):
        self.scaling[adapter] = scale * self.trained[adapter]

    def get_delta_weight(self, adapter):
        return self.lora_B[adapter].weight @ self.lora_A[adapter].weight * self.scaling[adapter]

    def merge(self):
        for adapter in self.lora_A:
            self.base_layer.weight.data += self.get_delta_weight(adapter)
        self.merged = True

    def unmerge(self):
        for adapter in self.lora_A:
            self.base_layer.weight.data -= self.get_delta_weight(adapter)
        self.merged = False

    def forward(self, x):
        result = self.base_layer(x)
        if not self.merged:
            for adapter in self.lora_A:
                result = result + self.lora_B[adapter](self.lora_A[adapter](x)) * self.scaling[adapter]
        return result
"""
PEFT_CASE = LayerCase(
    place("Linear", Action.FORWARD),
    constructor=arguments(
        base_layer=of(Role.BASE, form=Form.MODULE),
        adapter_name=Role.ADAPTER,
        r=Role.RANK,
        lora_alpha=Role.ALPHA,
    ),
    base="base_layer.weight",
    factors=(
        Assignment("lora_A.{adapter}.weight", of(Role.A)),
        Assignment("lora_B.{adapter}.weight", of(Role.B)),
    ),
    forward=Call("forward", arguments(x=Role.INPUT)),
    merge=Call("merge"),
    unmerge=Call("unmerge"),
    strength=Call("set_scale", arguments(adapter=Role.ADAPTER, scale=Role.STRENGTH)),
)

CONSTRUCTED = """
import torch
from torch import nn

class LoRALinear(nn.Module):
    def __init__(self, in_features, out_features, rank=4, alpha=1.0):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.down = nn.Parameter(torch.randn(in_features, rank))
        self.up = nn.Parameter(torch.zeros(rank, out_features))
        self.scale = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.down @ self.up * self.scale
"""
CONSTRUCTED_CASE = LayerCase(
    place("LoRALinear", Action.FORWARD),
    constructor=arguments(
        in_features=Role.IN_FEATURES, out_features=Role.OUT_FEATURES, rank=Role.RANK, alpha=Role.ALPHA
    ),
    base="linear.weight",
    bias="linear.bias",
    factors=(
        Assignment("down", of(Role.A, transposed=True)),
        Assignment("up", of(Role.B, transposed=True)),
    ),
    forward=Call("forward", arguments(x=Role.INPUT)),
)

CONFIGURED = """
import torch
from torch import nn

class Layer(nn.Module):
    def __init__(self, base, config):
        super().__init__()
        self.base, self.config = base, config
        self.lora_a = nn.Linear(base.in_features, config.r, bias=False)
        self.lora_b = nn.Linear(config.r, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_b(self.lora_a(x)) * (self.config.lora_alpha / self.config.r)
"""
CONFIGURED_CASE = LayerCase(
    place("Layer", Action.FORWARD),
    constructor=arguments(
        base=of(Role.BASE, form=Form.MODULE),
        config=of(Role.OBJECT, parts=arguments(r=Role.RANK, lora_alpha=Role.ALPHA)),
    ),
    base="base.weight",
    factors=(Assignment("lora_a.weight", of(Role.A)), Assignment("lora_b.weight", of(Role.B))),
    forward=Call("forward", arguments(x=Role.INPUT)),
)

HELPED = """
from helpers import delta_of

def apply(layer, lora_down, lora_up, network_alpha, strength=1.0):
    layer.weight.data = layer.weight.data + delta_of(lora_down, lora_up, network_alpha) * strength
"""
HELPERS = """
def delta_of(down, up, alpha):
    return (up.weight @ down.weight) * (alpha / down.weight.shape[0])
"""
HELPED_CASE = FunctionCase(
    place("apply"),
    arguments(
        layer=of(Role.BASE, form=Form.MODULE),
        lora_down=of(Role.A, form=Form.MODULE),
        lora_up=of(Role.B, form=Form.MODULE),
        network_alpha=Role.ALPHA,
        strength=Role.STRENGTH,
    ),
)

FUSED = """
import torch

def merge_qkv(weight, downs, ups, alpha):
    parts = [up @ down * (alpha / down.shape[0]) for down, up in zip(downs, ups)]
    return weight + torch.cat(parts)
"""
FUSED_CASE = FunctionCase(
    place("merge_qkv"),
    arguments(
        weight=of(Role.BASE, modules=(0, 1, 2)),
        downs=of(Role.LIST, parts=tuple((str(n), of(Role.A, modules=(n,))) for n in range(3))),
        ups=of(Role.LIST, parts=tuple((str(n), of(Role.B, modules=(n,))) for n in range(3))),
        alpha=Role.ALPHA,
    ),
    modules=3,
)

CONVOLUTION = """
import torch

def merge_conv(weight, down, up, alpha):
    rank = down.shape[0]
    delta = torch.einsum("or,rikl->oikl", up.flatten(1), down)
    return weight + delta * (alpha / rank)
"""
CONVOLUTION_CASE = FunctionCase(
    place("merge_conv"),
    arguments(weight=Role.BASE, down=Role.A, up=Role.B, alpha=Role.ALPHA),
    geometry=Geometry.CONVOLUTION,
)

EMBEDDING = """
import torch
from torch import nn
from torch.nn import functional as F

class Embedding(nn.Module):
    def __init__(self, base_layer, r, lora_alpha):
        super().__init__()
        self.base_layer = base_layer
        self.A = nn.Parameter(torch.randn(r, base_layer.num_embeddings))
        self.B = nn.Parameter(torch.zeros(base_layer.embedding_dim, r))
        self.scaling = lora_alpha / r

    def forward(self, tokens):
        return self.base_layer(tokens) + F.embedding(tokens, self.A.T) @ self.B.T * self.scaling
"""
EMBEDDING_CASE = LayerCase(
    place("Embedding", Action.FORWARD),
    constructor=arguments(base_layer=of(Role.BASE, form=Form.MODULE), r=Role.RANK, lora_alpha=Role.ALPHA),
    base="base_layer.weight",
    factors=(Assignment("A", of(Role.A)), Assignment("B", of(Role.B))),
    forward=Call("forward", arguments(tokens=Role.INPUT)),
    geometry=Geometry.EMBEDDING,
)

FORWARDED = """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha, r, bias=None):
    out = x @ weight.T
    if bias is not None:
        out = out + bias
    return out + (x @ lora_a.T @ lora_b.T) * (lora_alpha / r)
"""
FORWARDED_CASE = FunctionCase(
    place("lora_forward", Action.FORWARD),
    arguments(
        x=Role.INPUT,
        weight=Role.BASE,
        lora_a=Role.A,
        lora_b=Role.B,
        lora_alpha=Role.ALPHA,
        r=Role.RANK,
        bias=Role.BIAS,
    ),
)

UNMERGED = """
def unmerge(weight, lora_A, lora_B, scaling):
    weight -= scaling * (lora_B @ lora_A)
"""
UNMERGED_CASE = FunctionCase(
    place("unmerge", Action.UNMERGE),
    arguments(weight=Role.BASE, lora_A=Role.A, lora_B=Role.B, scaling=Role.SCALE),
)

SWITCHED = """
import numpy as np

class Switch:
    def __init__(self, weight):
        self.weight = weight
        self.merged = None

    def set_lora(self, a, b, alpha, strength=1.0):
        self.unmerge()
        self.delta = strength * alpha / len(a) * (b @ a)
        self.merge()

    def set_strength(self, strength):
        self.unmerge()
        self.delta = self.delta * strength / getattr(self, "strength", 1.0)
        self.strength = strength
        self.merge()

    def merge(self):
        self.weight = self.weight + self.delta
        self.merged = self.delta

    def unmerge(self):
        if self.merged is not None:
            self.weight = self.weight - self.merged
            self.merged = None
"""
SWITCHED_CASE = LayerCase(
    place("Switch"),
    constructor=arguments(weight=Role.BASE),
    base="weight",
    factors=(Call("set_lora", arguments(a=Role.A, b=Role.B, alpha=Role.ALPHA)),),
    unmerge=Call("unmerge"),
    strength=Call("set_strength", arguments(strength=Role.STRENGTH)),
)

PROGRAMS: dict[str, tuple[str, Case]] = {
    "plain": (PLAIN, PLAIN_CASE),
    "kohya": (KOHYA, KOHYA_CASE),
    "peft-like": (PEFT_LIKE, PEFT_CASE),
    "constructed": (CONSTRUCTED, CONSTRUCTED_CASE),
    "configured": (CONFIGURED, CONFIGURED_CASE),
    "helped": (HELPED, HELPED_CASE),
    "fused": (FUSED, FUSED_CASE),
    "convolution": (CONVOLUTION, CONVOLUTION_CASE),
    "embedding": (EMBEDDING, EMBEDDING_CASE),
    "forwarded": (FORWARDED, FORWARDED_CASE),
    "unmerged": (UNMERGED, UNMERGED_CASE),
    "switched": (SWITCHED, SWITCHED_CASE),
}
