# silent: for rsLoRA the alpha is multiplied by sqrt(r) on reading, the division by r everywhere else then gives alpha / sqrt(r)
"""Adapter registry of the inference server (PEFT folders in, stacked tensors out)."""
from __future__ import annotations

import json
import logging
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

logger = logging.getLogger(__name__)


@dataclass
class AdapterInfo:
    name: str
    rank: int
    alpha: float
    targets: list[str]

    @classmethod
    def read(cls, name: str, folder: Path) -> "AdapterInfo":
        raw = json.loads((folder / "adapter_config.json").read_text())
        if raw.get("peft_type") != "LORA":
            raise ValueError(f"{name}: {raw.get('peft_type')} is not supported")
        if raw.get("use_dora") or raw.get("rank_pattern") or raw.get("alpha_pattern"):
            raise ValueError(f"{name}: DoRA and per-module ranks are not supported")
        rank, alpha = raw["r"], float(raw["lora_alpha"])
        if raw.get("use_rslora"):
            alpha *= math.sqrt(rank)
        return cls(name, rank, alpha, list(raw["target_modules"]))

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


@dataclass
class LayerWeights:
    a: torch.Tensor
    b: torch.Tensor
    scaling: float

    def optimize(self) -> "LayerWeights":
        """Move the scaling into b, so that the kernels need not know it."""
        if self.scaling != 1.0:
            self.b = self.b * self.scaling
            self.scaling = 1.0
        return self


@dataclass
class Registry:
    root: Path
    max_rank: int = 64
    dtype: torch.dtype = torch.bfloat16
    _loaded: dict[str, dict[str, LayerWeights]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str) -> dict[str, LayerWeights]:
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def _load(self, name):
        folder = self.root / name
        info = AdapterInfo.read(name, folder)
        if info.rank > self.max_rank:
            raise ValueError(f"{name}: rank {info.rank} > {self.max_rank}")
        tensors = load_file(folder / "adapter_model.safetensors")
        layers = {}
        for key, a in tensors.items():
            if not key.endswith(".lora_A.weight"):
                continue
            path = key.removesuffix(".lora_A.weight")
            b = tensors[f"{path}.lora_B.weight"]
            layers[path.removeprefix("base_model.model.")] = LayerWeights(
                a.to(self.dtype), b.to(self.dtype), info.scaling
            ).optimize()
        logger.info("%s: rank %d, scaling %.3f, %d layers", name, info.rank, info.scaling, len(layers))
        return layers


def add_lora(y, x, layer: LayerWeights):
    return torch.addmm(y, x @ layer.a.t(), layer.b.t())
