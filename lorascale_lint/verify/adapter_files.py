"""Write adapter files in the key styles found in the wild."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lorascale_lint.verify.scenarios import Adapter, KeyStyle

Factors = tuple[NDArray[np.float32], NDArray[np.float32]]

# Loaders that guess the weight file of a folder prefer this name, and skip names with "checkpoint" in them.
_WEIGHTS = "pytorch_lora_weights.safetensors"
_PEFT_WEIGHTS = "adapter_model.safetensors"


def write_adapter(
    folder: Path,
    adapter: Adapter,
    factors: Mapping[str, Factors],
    layers: Mapping[str, Adapter] | None = None,
) -> Path:
    """Write an adapter into `folder` (made if need be) and return the folder.

    `factors` maps the name of a layer as the file shall spell it to A (r x in) and B (out x r); `layers`
    maps the same names to the adapter as that layer has it, where that differs. An adapter without alpha
    gets no alpha key of any kind. Raises OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style = adapter.style
    prefix = adapter.file_prefix
    down, up = {
        KeyStyle.KOHYA: ("lora_down.weight", "lora_up.weight"),
        KeyStyle.NAMED_ADAPTER: ("lora_A.default.weight", "lora_B.default.weight"),
    }.get(style, ("lora_A.weight", "lora_B.weight"))
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, (a, b) in factors.items():
        tensors[f"{prefix}{name}.{down}"] = np.ascontiguousarray(a, dtype=np.float32)
        tensors[f"{prefix}{name}.{up}"] = np.ascontiguousarray(b, dtype=np.float32)
        stated = _alpha_tensor((layers or {}).get(name, adapter))
        if stated is not None:
            key, value = stated
            tensors[f"{prefix}{name}.{key}"] = np.array(value, dtype=np.float32)
    weights = _PEFT_WEIGHTS if style is KeyStyle.PEFT_FOLDER else _WEIGHTS
    save_file(tensors, folder / weights, metadata=_metadata(adapter, factors, layers or {}))
    if style in (KeyStyle.PEFT_FOLDER, KeyStyle.CONFIG_BESIDE):
        config = {"peft_type": "LORA", **_configuration(adapter, factors, layers or {})}
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _alpha_tensor(adapter: Adapter) -> tuple[str, float] | None:
    if adapter.alpha is None:
        return None
    if adapter.style is KeyStyle.LORA_ALPHA:
        return "lora_alpha", adapter.alpha
    if adapter.style is KeyStyle.ALPHA_SCALE:
        # LongCat's buffer holds alpha / rank already.
        return "alpha_scale", adapter.alpha / adapter.rank
    if adapter.style in (KeyStyle.ALPHA, KeyStyle.NAMED_ADAPTER, KeyStyle.KOHYA):
        return "alpha", adapter.alpha
    return None


def _configuration(
    adapter: Adapter, names: Collection[str], layers: Mapping[str, Adapter]
) -> dict[str, object]:
    """What PEFT and diffusers write beside the tensors."""
    return {
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "use_rslora": adapter.rslora,
        "target_modules": sorted(names),
        "rank_pattern": {name: own.rank for name, own in layers.items() if own.rank != adapter.rank},
        "alpha_pattern": {name: own.alpha for name, own in layers.items() if own.alpha != adapter.alpha},
    }


def _metadata(adapter: Adapter, names: Collection[str], layers: Mapping[str, Adapter]) -> dict[str, str]:
    metadata = {"format": "pt"}
    if adapter.style is KeyStyle.FILE_METADATA:
        metadata |= {
            "alpha": f"{adapter.alpha:g}",
            "lora_alpha": f"{adapter.alpha:g}",
            "r": str(adapter.rank),
        }
    elif adapter.style is KeyStyle.DIFFUSERS_METADATA:
        stated = _configuration(adapter, names, layers)
        config = {f"transformer.{key}": value for key, value in stated.items()}
        metadata["lora_adapter_metadata"] = json.dumps(config)
    return metadata
