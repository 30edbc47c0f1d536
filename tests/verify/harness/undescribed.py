"""LoRA layers that nobody has described, of all the shapes that the child finds out by itself."""

from __future__ import annotations

import re

HEAD = "import math\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n"

SIZES = """
class Pair(nn.Module):
    def __init__(self, k_in, k_out, rank, lora_alpha):
        super().__init__()
        self.weight = nn.Linear(k_in, k_out)
        self.lora_A = nn.Parameter(torch.randn(rank, k_in))
        self.lora_B = nn.Parameter(torch.zeros(k_out, rank))
        self.gain = lora_alpha / rank

    def forward(self, x):
        return self.weight(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.gain
"""
ONE_SIZE = """
class Square(nn.Module):
    def __init__(self, d_model: int, n_heads: int, rank: int, alpha: float):
        super().__init__()
        assert d_model % n_heads == 0
        self.linear = nn.Linear(d_model, d_model)
        self.lora_A = nn.Parameter(torch.randn(rank, d_model))
        self.lora_B = nn.Parameter(torch.zeros(d_model, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
PARAMETRIZED = """
class Parametrized(nn.Module):
    def __init__(self, features_in, features_out, rank, alpha, device):
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, features_out).to(device))
        self.lora_B = nn.Parameter(torch.zeros(features_in, rank).to(device))
        self.scale = alpha / rank

    def forward(self, original_weights):
        return original_weights + (self.lora_B @ self.lora_A).view(original_weights.shape) * self.scale
"""
FUSED = """
class LoRAQueryValue(nn.Module):
    def __init__(
        self,
        qkv: nn.Module,
        linear_a_q: nn.Module,
        linear_b_q: nn.Module,
        linear_a_v: nn.Module,
        linear_b_v: nn.Module,
        r: int,
        alpha: int,
    ):
        super().__init__()
        self.qkv = qkv
        self.linear_a_q, self.linear_b_q = linear_a_q, linear_b_q
        self.linear_a_v, self.linear_b_v = linear_a_v, linear_b_v
        self.dim = qkv.in_features
        self.scaling = alpha / r

    def forward(self, x):
        qkv = self.qkv(x)
        qkv[:, :, :, : self.dim] += self.linear_b_q(self.linear_a_q(x)) * self.scaling
        qkv[:, :, :, -self.dim :] += self.linear_b_v(self.linear_a_v(x)) * self.scaling
        return qkv
"""
NORMED = """
class Normed(nn.Module):
    def __init__(self, d_in, d_out, rank, lora_alpha):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_out, d_in))
        self.m = nn.Parameter(self.weight.norm(p=2, dim=0, keepdim=True))
        self.lora_A = nn.Parameter(torch.randn(rank, d_in))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank))
        self.scaling = lora_alpha / rank

    def forward(self, x):
        adapted = self.weight + self.lora_B @ self.lora_A * self.scaling
        return F.linear(x, self.m * adapted / adapted.norm(p=2, dim=0, keepdim=True))
"""
BY_SHAPE = """
class Projected(nn.Module):
    def __init__(self, in_features: int, out_features: int, rank: int, lora_alpha: float):
        super().__init__()
        self.in_proj = nn.Parameter(torch.randn(in_features, rank))
        self.out_proj = nn.Parameter(torch.zeros(rank, out_features))
        self.scaling = lora_alpha / rank

    @torch.no_grad()
    def merge(self, module: nn.Linear):
        module.weight.data += (self.in_proj @ self.out_proj).T * self.scaling
        return module
"""
INHERITED = """
class Plain(nn.Module):
    def __init__(self, in_features, out_features, r=8, lora_alpha=16):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.scaling = lora_alpha / r


class Heir(Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling
"""
ABSTRACT = """
from abc import ABC, abstractmethod


class Unfinished(nn.Module, ABC):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        self.scaling = alpha / rank

    @abstractmethod
    def describe(self):
        ...

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
WHOLE_MODEL = """
class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


def merge_lora(model: nn.Module):
    for name, child in list(model.named_modules()):
        if isinstance(child, LoRALinear):
            child.linear.weight.data += child.lora_B @ child.lora_A * child.scaling
            owner = model
            *path, last = name.split(".")
            for step in path:
                owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
            setattr(owner, last, child.linear)
"""
ELSEWHERE = """
DEVICE = torch.device("mps")


class OnCard(nn.Module):
    def __init__(self, d_in, d_out, rank, alpha):
        super().__init__()
        self.base = nn.Linear(d_in, d_out)
        self.lora_A = nn.Parameter(torch.randn(rank, d_in, device=DEVICE))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank).cuda())
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + x.to(DEVICE) @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
ONE_DIMENSION = """
class Convolved(nn.Module):
    def __init__(self, orig_module: nn.Conv1d, r: int, lora_alpha: float):
        super().__init__()
        self.orig_module = orig_module
        kernel = orig_module.kernel_size
        self.lora_A = nn.Conv1d(orig_module.in_channels, r, kernel, bias=False)
        self.lora_B = nn.Conv1d(r, orig_module.out_channels, 1, bias=False)
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.orig_module(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
FOLDED_KERNEL = """
class Folded(nn.Module):
    def __init__(self, conv: nn.Conv2d, r: int, lora_alpha: float):
        super().__init__()
        self.conv = conv
        kernel = conv.kernel_size[0]
        self.lora_A = nn.Parameter(torch.zeros(r * kernel, conv.in_channels * kernel))
        self.lora_B = nn.Parameter(torch.zeros(conv.out_channels * kernel, r * kernel))
        self.scaling = lora_alpha / r

    def forward(self, x):
        delta = (self.lora_B @ self.lora_A).view(self.conv.weight.shape) * self.scaling
        return F.conv2d(x, self.conv.weight + delta, self.conv.bias)
"""
ASKED = """
class Configured(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.base = nn.Linear(spec.hidden_size, spec.hidden_size)
        self.lora_A = nn.Linear(spec.hidden_size, spec.lora_rank, bias=False)
        self.lora_B = nn.Linear(spec.lora_rank, spec.hidden_size, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * (self.spec.lora_alpha / self.spec.lora_rank)
"""
ANNOTATED = """
from absent_types import Float


class Annotated(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x: Float[torch.Tensor, "b n"] | None) -> Float[torch.Tensor, "b m"]:
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
STACKED = """
class MergedLoRA(nn.Module):
    def __init__(self, in_features, out_features, r=0, lora_alpha=1, enable_lora=[False]):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.enable_lora = enable_lora
        share = out_features // len(enable_lora)
        self.lora_A = nn.Parameter(torch.zeros(r * sum(enable_lora), in_features))
        self.lora_B = nn.Parameter(torch.zeros(share * sum(enable_lora), r))
        self.scaling = lora_alpha / r
        enabled = torch.zeros(len(enable_lora), share, dtype=torch.bool)
        enabled[enable_lora] = True
        self.rows = enabled.view(-1)

    def delta(self):
        after = F.conv1d(self.lora_A[None], self.lora_B[..., None], groups=sum(self.enable_lora))[0]
        whole = after.new_zeros(len(self.rows), after.shape[1])
        whole[self.rows] = after
        return whole

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(x, self.delta() * self.scaling)
"""
BETWEEN = """
class Diagonal(nn.Module):
    def __init__(self, in_features, out_features, r, lora_alpha):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_E = nn.Parameter(torch.randn(r, 1))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        delta = self.lora_B @ (self.lora_A * self.lora_E)
        return F.linear(x, self.weight + delta * self.scaling)
"""
MARKED_SETTINGS = """
from dataclasses import dataclass
from typing import Optional


@dataclass
class Settings:
    title_: str
    start_: str = "zeros"
    r_: Optional[int] = None
    alpha_: Optional[int] = None
    dropout_: Optional[float] = None


class Residual(nn.Module):
    def __init__(self, base_layer: nn.Module, config: Settings):
        super().__init__()
        assert config.dropout_ > 0.0
        self.base_layer = base_layer
        self.dropout = nn.Dropout(config.dropout_)
        self.lora_a = nn.Linear(base_layer.in_features, config.r_, bias=False)
        self.lora_b = nn.Linear(config.r_, base_layer.out_features, bias=False)
        alpha, rank = config.alpha_, config.r_
        self.scaling = alpha / rank

    def forward(self, residual: torch.Tensor, hidden_states: torch.Tensor):
        return residual + self.lora_b(self.lora_a(self.dropout(hidden_states))) * self.scaling
"""
NAMESPACE = """
import argparse


class Parsed(nn.Module):
    def __init__(self, linear: nn.Linear, args: argparse.Namespace):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.randn(args.lora_rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, args.lora_rank))
        alpha, rank = args.lora_alpha, args.lora_rank
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
WEIGHT_AS_X = """
class OfWeights(nn.Module):
    def __init__(self, fan_in, fan_out, rank=4, alpha=1):
        super().__init__()
        self.lora_A = nn.Parameter(torch.zeros(rank, fan_in))
        self.lora_B = nn.Parameter(torch.zeros(fan_out, rank))
        self.scaling = alpha / rank
        self.chosen = self.with_delta

    def with_delta(self, X):
        return X + (self.lora_B @ self.lora_A).view(X.shape) * self.scaling

    def forward(self, X):
        return self.chosen(X)
"""
DROPPED = """
class Dropped(nn.Linear):
    def __init__(self, existing: nn.Linear, r: int = 0, lora_alpha: int = 1, dropout_rate=0.0):
        super().__init__(existing.in_features, existing.out_features)
        self.lora_A = nn.Parameter(torch.zeros(r, existing.in_features))
        self.lora_B = nn.Parameter(torch.zeros(existing.out_features, r))
        self.scaling = lora_alpha / r
        self.dropout = nn.Dropout(dropout_rate) if dropout_rate > 0 else None

    def forward(self, x):
        if self.dropout is None:
            return nn.Linear.forward(self, x)
        return nn.Linear.forward(self, x) + self.dropout(x) @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
FLAT_KERNEL = """
class FlatKernel(nn.Module):
    def __init__(self, base_layer: nn.Module, r: int, lora_alpha: int):
        super().__init__()
        assert base_layer.kernel_size == (3, 3)
        self.base_layer = base_layer
        size = base_layer.in_channels * base_layer.kernel_size[0] * base_layer.kernel_size[1]
        self.lora_A = nn.Parameter(torch.zeros(r, size))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_channels, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        weight = self.base_layer.weight
        return self.base_layer._conv_forward(
            x, weight + (self.lora_B @ self.lora_A).view(weight.shape) * self.scaling, self.base_layer.bias
        )
"""
ONE_OF_A_STACK = """
class Experts(nn.Module):
    def __init__(self, layer: nn.Linear, num_experts: int, rank: int, alpha: float):
        super().__init__()
        self.layer = layer
        self.lora_a = nn.Parameter(torch.zeros(num_experts, layer.in_features, rank))
        self.lora_b = nn.Parameter(torch.zeros(num_experts, rank, 1, layer.out_features))
        self.scaling = alpha / rank

    def forward(self, x):
        delta = torch.einsum("si,eir,erpo->so", x, self.lora_a, self.lora_b)
        return self.layer(x) + delta * self.scaling
"""
TOLD_BY_KEYS = """
class Kohya(nn.Module):
    def __init__(self, lora_name, org_module: nn.Module, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__()
        self.lora_down = nn.Linear(org_module.in_features, lora_dim, bias=False)
        self.lora_up = nn.Linear(lora_dim, org_module.out_features, bias=False)
        self.multiplier = multiplier
        r = lora_dim
        self.scale = alpha / r
        self.org_module = org_module

    def apply_to(self):
        self.org_forward = self.org_module.forward
        self.org_module.forward = self.forward
        del self.org_module

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale


class KohyaLoaded(Kohya):
    def __init__(self, lora_name, org_module: nn.Module, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__(lora_name, org_module, multiplier, lora_dim, alpha)
        self.org_module_ref = [org_module]

    def merge_to(self, sd, dtype, device):
        org_sd = self.org_module.state_dict()
        up, down = sd["lora_up.weight"].to(torch.float), sd["lora_down.weight"].to(torch.float)
        org_sd["weight"] = org_sd["weight"] + self.multiplier * (up @ down) * self.scale
        self.org_module.load_state_dict(org_sd)
"""
BY_ADAPTER = """
class Tensors(nn.Module):
    def __init__(self, tensors):
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value)

    def items(self):
        return self._buffers.items()

    def __getitem__(self, name):
        return self._buffers[name]

    def __setitem__(self, name, value):
        self.register_buffer(name, value)


class Shared(nn.Module):
    def __init__(self, base_layer, lora_A: Tensors, lora_B: Tensors, adapter_name: str, r: int, alpha: int):
        super().__init__()
        self.base_layer, self.name = base_layer, adapter_name
        self.lora_A, self.lora_B = lora_A, lora_B
        self.scaling = alpha / r

    def forward(self, x):
        a, b = self.lora_A[self.name], self.lora_B[self.name]
        return self.base_layer(x) + x @ a.T @ b.T * self.scaling
"""
ABSENT_PACKAGE = """
import importlib.util

if importlib.util.find_spec("a_package_of_quantised_layers"):
    from a_package_of_quantised_layers import Packed

    class OverPacked(nn.Module):
        def __init__(self, base_layer, r: int, lora_alpha: int):
            super().__init__()
            self.base_layer = base_layer
            self.lora_A = nn.Linear(base_layer.in_features, r, bias=False)
            self.lora_B = nn.Linear(r, base_layer.out_features, bias=False)
            self.scaling = lora_alpha / r

        def forward(self, x):
            return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
WHOSE = """
class Mixed(nn.Module):
    def __init__(self, base_layer, adapter_name: str, r: int, lora_alpha: int):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({adapter_name: nn.Linear(base_layer.in_features, r, bias=False)})
        self.lora_B = nn.ModuleDict({adapter_name: nn.Linear(r, base_layer.out_features, bias=False)})
        self.scaling = {adapter_name: lora_alpha / r}
        self.name, self.merged = adapter_name, False

    def merge(self):
        delta = self.lora_B[self.name].weight @ self.lora_A[self.name].weight
        self.base_layer.weight.data += delta * self.scaling[self.name]
        self.merged = True

    def _mixed(self, x, *args, adapter_names: list[str], **kwargs):
        result = self.base_layer(x)
        for name in set(adapter_names):
            rows = [row for row, other in enumerate(adapter_names) if other == name]
            result[rows] += self.lora_B[name](self.lora_A[name](x[rows])) * self.scaling[name]
        return result

    def forward(self, x, *args, **kwargs):
        names = kwargs.pop("adapter_names", None)
        if names is not None:
            return self._mixed(x, adapter_names=names)
        if self.merged:
            return self.base_layer(x)
        delta = self.lora_B[self.name](self.lora_A[self.name](x)) * self.scaling[self.name]
        return self.base_layer(x) + delta
"""
NORMED_KERNEL = """
class NormedKernel(nn.Conv2d):
    def __init__(self, existing: nn.Conv2d, r: int, lora_alpha: int):
        super().__init__(existing.in_channels, existing.out_channels, existing.kernel_size)
        self.weight, self.bias = existing.weight, existing.bias
        self.lora_A = nn.Parameter(torch.zeros(r, *existing.weight.shape[1:]))
        self.lora_B = nn.Parameter(torch.zeros(existing.out_channels, r, 1, 1))
        self.magnitude = nn.Parameter(torch.ones(existing.out_channels, 1, 1, 1))
        self.scaling = lora_alpha / r
        self.merged = False

    def adapted(self):
        delta = (self.lora_B.flatten(1) @ self.lora_A.flatten(1)).view(self.weight.shape)
        whole = self.weight + delta * self.scaling
        return self.magnitude * whole / whole.flatten(1).norm(dim=1)[:, None, None, None]

    def merge(self):
        self.weight.data = self.adapted()
        self.merged = True

    def forward(self, x):
        return self._conv_forward(x, self.weight if self.merged else self.adapted(), self.bias)
"""
NORMED_TOKENS = """
class NormedTokens(nn.Embedding):
    def __init__(self, existing: nn.Embedding, r: int, lora_alpha: int):
        super().__init__(existing.num_embeddings, existing.embedding_dim)
        self.lora_A = nn.Parameter(torch.zeros(r, existing.num_embeddings))
        self.lora_B = nn.Parameter(torch.zeros(existing.embedding_dim, r))
        self.magnitude = nn.Parameter(torch.ones(1, existing.embedding_dim))
        self.scaling = lora_alpha / r
        self.merged = False

    def adapted(self):
        whole = self.weight + (self.lora_B @ self.lora_A).T * self.scaling
        return self.magnitude * whole / whole.norm(dim=0, keepdim=True)

    def merge(self):
        self.weight.data = self.adapted()
        self.merged = True

    def forward(self, tokens):
        return F.embedding(tokens, self.weight if self.merged else self.adapted())
"""
SECOND_RANK = """
class TwoRanks(nn.Module):
    def __init__(self, linear_layer, shape, rank, scaling_rank, init_scale, alpha):
        super().__init__()
        self.weight, self.bias = linear_layer.weight, linear_layer.bias
        in_features, out_features = shape
        self.lora_a = nn.Parameter(torch.randn(rank, in_features) * init_scale)
        self.lora_b = nn.Parameter(torch.zeros(out_features, rank))
        self.multi = nn.Parameter(torch.ones(out_features, scaling_rank)) if scaling_rank else None
        self.scaling = alpha / rank

    def forward(self, x):
        weight = self.weight + self.lora_b @ self.lora_a * self.scaling
        if self.multi is not None:
            weight = weight * self.multi.sum(1, keepdim=True)
        return F.linear(x, weight, self.bias)
"""
STACKED_KERNELS = """
class MergedKernels(nn.Linear):
    def __init__(self, in_features, out_features, r=0, lora_alpha=1, enable_lora=[False], **kwargs):
        super().__init__(in_features, out_features, **kwargs)
        if out_features % len(enable_lora) != 0:
            raise ValueError("The length of enable_lora must divide out_features")
        self.enable_lora, self.count = enable_lora, sum(enable_lora)
        share = out_features // len(enable_lora)
        self.lora_A = nn.Linear(in_features, r * self.count, bias=False)
        self.lora_B = nn.Conv1d(r * self.count, share * self.count, 1, groups=2, bias=False)
        self.scaling = lora_alpha / r
        enabled = torch.zeros(len(enable_lora), share, dtype=torch.bool)
        enabled[enable_lora] = True
        self.rows = enabled.view(-1)

    def forward(self, x):
        result = F.linear(x, self.weight, self.bias)
        after = self.lora_B(self.lora_A(x).T[None])[0].T * self.scaling
        whole = result.new_zeros(len(x), len(self.rows))
        whole[:, self.rows] = after
        return result + whole
"""
COMPILED = """
class Compiled(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Parameter(torch.zeros(rank, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, rank))
        self.scaling = alpha / rank

    @torch.compile()
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
TOLD_STRENGTH = """
class Bypassed(nn.Module):
    def __init__(self, org_module: nn.Module, multiplier=1.0, rank=4, alpha=1):
        super().__init__()
        self.org_forward = org_module.forward
        self.lora_down = nn.Linear(org_module.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, org_module.out_features, bias=False)
        self.multiplier = multiplier
        self.scale = alpha / rank
        self.org_module = [org_module]

    def bypass(self, x, scale=1):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale * scale

    def forward(self, x):
        return self.bypass(x, self.multiplier)
"""
# Made without an adapter; those that are added have ranks and alphas of their own.
STARTED = """
class Pair(nn.Module):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.up(self.down(x)) * self.scaling

class LoRAHost(nn.Module):
    def __init__(self, original: nn.Linear):
        super().__init__()
        self.original = original
        self.adapters = nn.ModuleDict()

    def add_task(self, task_id, rank=8, alpha=16, dropout=0.0):
        if task_id not in self.adapters:
            sizes = self.original.in_features, self.original.out_features
            self.adapters[task_id] = Pair(*sizes, rank, alpha)

    def forward(self, x):
        out = self.original(x)
        for adapter in self.adapters.values():
            out = out + adapter(x)
        return out
"""
# One method merges or unmerges, as it is told; the other way round than one might guess.
TOLD_A_MODE = """
class LoRALinear(nn.Linear):
    def __init__(self, in_features, out_features, r, lora_alpha):
        super().__init__(in_features, out_features)
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.scaling = lora_alpha / r
        self.merged = False

    def start_from(self, rank):
        u, s, v = torch.linalg.svd(self.weight, full_matrices=False)
        self.lora_B.data, self.lora_A.data = u[:, :rank] * s[:rank], v[:rank]
        self.weight.data -= self.lora_B @ self.lora_A * self.scaling

    def add(self):
        self.weight.data += self.lora_B @ self.lora_A * self.scaling

    def take(self):
        self.weight.data -= self.lora_B @ self.lora_A * self.scaling

    def training_weights(self, mode: bool = True):
        if mode:
            if self.merged:
                self.take()
            self.merged = False
        else:
            if not self.merged:
                self.add()
            self.merged = True

    def forward(self, x):
        if self.merged:
            return super().forward(x)
        return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
MERGED_BY_MODE = TOLD_A_MODE.replace(
    "def training_weights(self, mode: bool = True):", "def merge(self, mode):"
).replace("if mode:", "if not mode:")
# The names of the first pair say no part of the fused layer, and those of both nothing but a letter.
LETTERS = """
class FusedQKV(nn.Module):
    def __init__(self, base_qkv: nn.Linear, rank: int = 4, alpha: float = 8.0):
        super().__init__()
        self.base_qkv = base_qkv
        self.scaling = alpha / rank
        self.slice = base_qkv.out_features // 3
        self.loranew_A = nn.Parameter(torch.zeros(rank, base_qkv.in_features))
        self.loranew_B = nn.Parameter(torch.zeros(self.slice, rank))
        self.loranew_A_v = nn.Parameter(torch.zeros(rank, base_qkv.in_features))
        self.loranew_B_v = nn.Parameter(torch.zeros(self.slice, rank))

    def forward(self, x):
        q, k, v = self.base_qkv(x).split(self.slice, dim=-1)
        dq = (x @ self.loranew_A.T) @ self.loranew_B.T * self.scaling
        dv = (x @ self.loranew_A_v.T) @ self.loranew_B_v.T * self.scaling
        return torch.cat([q + dq, k, v + dv], dim=-1)
"""
# Its weight is merged whenever somebody looks at it.
LOOKED_AT = """
class Pair(nn.Module):
    def __init__(self, inputs, outputs, rank):
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)

class PatchedLinear(nn.Module):
    def __init__(self, fc: nn.Linear, rank, alpha):
        super().__init__()
        self.fc = fc
        self.lora_scale = alpha / rank
        self.lora = Pair(fc.in_features, fc.out_features, rank)

    @property
    def weight(self):
        return self.fc.weight + self.lora_scale * (self.lora.up.weight @ self.lora.down.weight)
"""
# Only layers as wide as they are high can be called: one size is taken for the other.
SQUARE = """
class LoRALinear(nn.Module):
    def __init__(self, in_params: int, out_params: int, rank: int, lora_alpha: float):
        super().__init__()
        self.alpha = lora_alpha / rank
        self.main = nn.Linear(in_params, out_params, bias=False)
        self.lora_down = nn.Linear(out_params, rank, bias=False)
        self.lora_up = nn.Linear(rank, out_params, bias=False)

    def forward(self, x):
        return self.main(x) + self.alpha * self.lora_up(self.lora_down(x))
"""
# Its forward is given another module, whose output is added.
BESIDE_A_MODULE = """
class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, r: int, lora_alpha: float):
        super().__init__()
        self.linear = linear
        self.lora_A = nn.Parameter(torch.zeros(r, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))
        self.scaling = lora_alpha / r

    def forward(self, x, prompt_mlp):
        delta = x @ self.lora_A.T @ self.lora_B.T * self.scaling
        return self.linear(x) + delta + prompt_mlp(x)
"""
RIGHT = {
    "beside_a_module": BESIDE_A_MODULE,
    "square": SQUARE,
    "letters": LETTERS,
    "looked_at": LOOKED_AT,
    "told_a_mode": TOLD_A_MODE,
    "merged_by_mode": MERGED_BY_MODE,
    "started": STARTED,
    "told_strength": TOLD_STRENGTH,
    "compiled": COMPILED,
    "stacked_kernels": STACKED_KERNELS,
    "second_rank": SECOND_RANK,
    "normed_kernel": NORMED_KERNEL,
    "normed_tokens": NORMED_TOKENS,
    "flat_kernel": FLAT_KERNEL,
    "one_of_a_stack": ONE_OF_A_STACK,
    "told_by_keys": TOLD_BY_KEYS,
    "by_adapter": BY_ADAPTER,
    "absent_package": ABSENT_PACKAGE,
    "whose": WHOSE,
    "marked_settings": MARKED_SETTINGS,
    "namespace": NAMESPACE,
    "weight_as_x": WEIGHT_AS_X,
    "dropped": DROPPED,
    "sizes": SIZES,
    "one_size": ONE_SIZE,
    "parametrized": PARAMETRIZED,
    "fused": FUSED,
    "normed": NORMED,
    "by_shape": BY_SHAPE,
    "inherited": INHERITED,
    "abstract": ABSTRACT,
    "elsewhere": ELSEWHERE,
    "one_dimension": ONE_DIMENSION,
    "folded_kernel": FOLDED_KERNEL,
    "asked": ASKED,
    "annotated": ANNOTATED,
    "between": BETWEEN,
    "stacked": STACKED,
}
_SCALE = re.compile(r"((?:self\.spec\.)?(?:lora_)?alpha) / ((?:self\.spec\.lora_)?r(?:ank)?)\b")


def inverted(source: str) -> str:
    """The same with each scale turned over."""
    return _SCALE.sub(r"\2 / \1", source)
