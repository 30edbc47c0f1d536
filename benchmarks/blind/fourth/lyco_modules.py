# wrong in line 43: both Hadamard factors are rebuilt with the scale, so a LoHa update carries alpha / r squared
"""LyCORIS weights -> full weight differences (LoRA, LoHa and LoKr)."""
import logging
from typing import Dict

import torch

log = logging.getLogger("lyco")
Tensors = Dict[str, torch.Tensor]


def low_rank(b: torch.Tensor, a: torch.Tensor, scale: float = 1.0):
    return (b.flatten(1).float() @ a.flatten(1).float()) * scale


def tucker(t, b, a, scale=1.0):
    return torch.einsum("i j k l, j r, i p -> p r k l", t.float(), a.float(), b.float()) * scale


class Lora:
    needs = ("lora_up.weight", "lora_down.weight")

    @staticmethod
    def diff(w: Tensors, shape):
        up, down = w["lora_up.weight"], w["lora_down.weight"]
        rank = down.shape[0]
        scale = float(w.get("alpha", rank)) / rank
        return low_rank(up, down, scale).reshape(shape)


class Loha:
    needs = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")

    @staticmethod
    def diff(w: Tensors, shape):
        rank = w["hada_w1_b"].shape[0]
        scale = float(w.get("alpha", rank)) / rank
        if "hada_t1" in w:
            one = tucker(w["hada_t1"], w["hada_w1_a"], w["hada_w1_b"], scale)
            two = tucker(w["hada_t2"], w["hada_w2_a"], w["hada_w2_b"])
            return (one * two).reshape(shape)
        one = low_rank(w["hada_w1_a"], w["hada_w1_b"], scale)
        two = low_rank(w["hada_w2_a"], w["hada_w2_b"], scale)
        return (one * two).reshape(shape)


class Lokr:
    needs = ()

    @staticmethod
    def diff(w: Tensors, shape):
        rank = None
        if "lokr_w1" in w:
            one = w["lokr_w1"].float()
        else:
            rank = w["lokr_w1_b"].shape[0]
            one = low_rank(w["lokr_w1_a"], w["lokr_w1_b"])
        if "lokr_w2" in w:
            two = w["lokr_w2"].float()
        else:
            rank = w["lokr_w2_b"].shape[0]
            two = low_rank(w["lokr_w2_a"], w["lokr_w2_b"])
        scale = 1.0 if rank is None else float(w.get("alpha", rank)) / rank
        if two.ndim > 2:
            one = one[..., None, None]
        return (torch.kron(one, two.contiguous()) * scale).reshape(shape)


def kind_of(w: Tensors):
    if all(k in w for k in Loha.needs):
        return Loha
    if all(k in w for k in Lora.needs):
        return Lora
    if any(k.startswith("lokr_") for k in w):
        return Lokr
    return None


def differences(state: Tensors, shapes: Dict[str, torch.Size]):
    grouped: Dict[str, Tensors] = {}
    for key, value in state.items():
        module, _, field = key.partition(".")
        grouped.setdefault(module, {})[field] = value
    for module, w in grouped.items():
        kind = kind_of(w)
        if kind is None or module not in shapes:
            log.warning("%s: skipped (%s)", module, ", ".join(sorted(w)))
            continue
        yield module, kind.diff(w, shapes[module])


@torch.no_grad()
def merge(modules: Dict[str, torch.nn.Module], state: Tensors, strength: float):
    shapes = {n: m.weight.shape for n, m in modules.items()}
    for name, diff in differences(state, shapes):
        weight = modules[name].weight
        weight.add_((strength * diff).to(weight))
