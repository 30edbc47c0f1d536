"""Small adapter files with the key layouts found in the wild."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[Any]]
WIDTH = 12
NAMES = tuple(f"blocks.{block}.attn.{name}" for block in range(2) for name in ("to_q", "to_v"))
FLAT = tuple("lora_unet_" + name.replace(".", "_") for name in NAMES)


def zeros(*shape: int, dtype: Any = np.float16) -> NDArray[Any]:
    return np.zeros(shape, dtype)


def pair(
    names: Iterable[str],
    rank: int,
    down: str = "lora_down.weight",
    up: str = "lora_up.weight",
    alpha: float | None = None,
    alpha_key: str = "alpha",
    dtype: Any = np.float32,
) -> Tensors:
    """A and B of some modules, and their alpha if there is one."""
    tensors: Tensors = {}
    for name in names:
        tensors[f"{name}.{down}"] = zeros(rank, WIDTH)
        tensors[f"{name}.{up}"] = zeros(WIDTH, rank)
        if alpha is not None:
            tensors[f"{name}.{alpha_key}"] = np.array(alpha, dtype)
    return tensors


def peft_pair(names: Iterable[str], rank: int, alpha: float | None = None) -> Tensors:
    return pair(names, rank, "lora_A.weight", "lora_B.weight", alpha)


def write(
    path: Path,
    tensors: Tensors,
    metadata: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write the file, and adapter_config.json beside it if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=dict(metadata or {"format": "pt"}))
    if config is not None:
        (path.parent / "adapter_config.json").write_text(json.dumps(config))
    return path
