"""A single layer of FastVideo, and its part of a weight where several processes share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lorascale_lint.verify.arrays import compiled, device_in_use

Weights = NDArray[np.floating]


def tensor_of(values: Weights, dtype: torch.dtype = torch.float32) -> Any:
    """On the device in use."""
    return torch.from_numpy(np.array(values, dtype=np.float32)).to(device=device_in_use(), dtype=dtype)


def array_of(tensor: Any) -> Weights:
    """In double precision."""
    return np.array(tensor.detach().to(torch.float64).cpu().numpy())


def world() -> int:
    """How many processes share the layers."""
    return int(torch.distributed.get_world_size())


def split_dimension(base: Any, weight: Weights) -> int | None:
    """The dimension of the weight that a tensor-parallel layer has a part of; None: it has all of it."""
    pairs = enumerate(zip(base.weight.shape, weight.shape, strict=False))
    return next((dimension for dimension, (mine, whole) in pairs if mine * world() == whole != mine), None)


def own_part(values: Weights, dimension: int | None) -> Weights:
    """What this rank has of a weight or bias that is split."""
    if dimension is None:
        return values
    part: Weights = np.split(values, world(), axis=dimension)[torch.distributed.get_rank()]
    return part


def fill(base: Any, weight: Weights, bias: Weights) -> None:
    """Give it this weight and bias."""
    with torch.no_grad():
        base.weight.copy_(tensor_of(weight, base.weight.dtype))
        if getattr(base, "bias", None) is not None:
            base.bias.copy_(tensor_of(bias, base.bias.dtype))


class FastVideoLayer:
    """One of the target's layers with LoRA."""

    def __init__(
        self,
        layer: Any,
        in_constructor: bool,
        alpha_keyword: str | None,
        scale_keyword: str | None,
        has_strength: bool,
        split: int | None,
    ) -> None:
        self._layer = layer
        self._split = split
        self._in_constructor = in_constructor
        self._alpha_keyword = alpha_keyword
        self._scale_keyword = scale_keyword
        self._has_strength = has_strength

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        """Returns what is to be said of alpha."""
        told: dict[str, Any] = {}
        note = ""
        if self._has_strength and strength != 1:
            told["strength"] = strength
        if alpha is not None:
            if self._alpha_keyword:
                told[self._alpha_keyword] = alpha
            elif self._scale_keyword:
                told[self._scale_keyword] = alpha / a.shape[0]
            elif self._in_constructor:
                note = "alpha through the constructor, set_lora_weights takes none"
            else:
                note = "the layer can be told no alpha"
        dtype = self._layer.base_layer.weight.dtype
        self._layer.set_lora_weights(tensor_of(a, dtype), tensor_of(b, dtype), **told)
        return note

    def train_factors(self, a: Weights, b: Weights) -> None:
        """As training leaves them."""
        with torch.no_grad():
            self._layer.lora_A.copy_(tensor_of(a))
            self._layer.lora_B.copy_(tensor_of(b))

    def merge(self) -> None:
        """Into the base."""
        self._layer.merge_lora_weights()

    def unmerge(self) -> None:
        """Out of it."""
        self._layer.unmerge_lora_weights()

    def weight(self) -> Weights:
        """That of the base, whole."""
        weight = self._layer.base_layer.weight
        if hasattr(weight, "full_tensor"):
            weight = weight.full_tensor()
        if self._split is None:
            return array_of(weight)
        parts = [torch.empty_like(weight) for _ in range(world())]
        torch.distributed.all_gather(parts, weight.detach().contiguous())
        return array_of(torch.cat(parts, dim=self._split))

    def forward(self, x: Weights) -> Weights:
        """Its output."""
        inputs = tensor_of(x, self._layer.base_layer.weight.dtype)
        with torch.no_grad():
            answer = compiled(self._layer)(inputs)
        # The target's linear layers return (output, bias that was not added).
        output, extra = answer if isinstance(answer, tuple) else (answer, None)
        return array_of(output if extra is None else output + extra)
