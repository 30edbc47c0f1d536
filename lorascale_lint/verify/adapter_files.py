"""Write adapter files in the key styles found in the wild."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lorascale_lint.verify.steps import Adapter, KeyStyle

# Names as in `Layer.set_tensors`, values of any floating-point type.
Tensors = Mapping[str, NDArray[np.floating]]

# Loaders that guess the weight file of a folder prefer this name, and skip names with "checkpoint" in them.
_WEIGHTS = "pytorch_lora_weights.safetensors"
_PEFT_WEIGHTS = "adapter_model.safetensors"

# What files (and layers) call the tensors of each form.
LOHA_NAMES = {"a": "hada_w1_b", "b": "hada_w1_a", "a2": "hada_w2_b", "b2": "hada_w2_a"}
LOKR_NAMES = {"w1": "lokr_w1", "b": "lokr_w2_a", "a": "lokr_w2_b"}
_A_B = {"a": "lora_A.weight", "b": "lora_B.weight"}
_DOWN_UP = {"a": "lora_down.weight", "b": "lora_up.weight"}
_NAMES = {
    KeyStyle.KOHYA: _DOWN_UP,
    KeyStyle.KOHYA_FLAT: _DOWN_UP,
    KeyStyle.LONGCAT: _DOWN_UP,
    KeyStyle.LYCORIS: _DOWN_UP,
    KeyStyle.LOHA: LOHA_NAMES,
    KeyStyle.LOKR: LOKR_NAMES,
    KeyStyle.NAMED_ADAPTER: {"a": "lora_A.default.weight", "b": "lora_B.default.weight"},
}
_FLATTENED = (KeyStyle.KOHYA_FLAT, KeyStyle.LYCORIS, KeyStyle.LOHA, KeyStyle.LOKR)

# LongCat's files have one up projection for each part of a fused layer (lora_utils.py: `n_seperate`).
_LONGCAT_PARTS = {"qkv": 3, "kv_linear": 2}


def write_adapter(
    folder: Path,
    adapter: Adapter,
    factors: Mapping[str, Tensors],
    layers: Mapping[str, Adapter] | None = None,
) -> Path:
    """Write an adapter into `folder` (made if need be) and return the folder.

    `factors` maps the model's name of a layer, with what a loader wants before it, to its tensors (A is
    r x in, B out x r); `layers` maps the same names to the adapter as that layer has it, where that differs.
    An adapter without alpha gets no alpha key of any kind. Raises OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style = adapter.style
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, values in factors.items():
        module = adapter.file_prefix + _spelled(style, name)
        for key, value in _keys(style, name, values):
            tensors[f"{module}.{key}"] = np.ascontiguousarray(value, dtype=np.float32)
        stated = _alpha_tensor((layers or {}).get(name, adapter))
        if stated is not None:
            key, alpha = stated
            tensors[f"{module}.{key}"] = np.array(alpha, dtype=np.float32)
    weights = _PEFT_WEIGHTS if style is KeyStyle.PEFT_FOLDER else _WEIGHTS
    save_file(tensors, folder / weights, metadata=_metadata(adapter, factors, layers or {}))
    if style in (KeyStyle.PEFT_FOLDER, KeyStyle.CONFIG_BESIDE):
        config = {"peft_type": "LORA", **_configuration(adapter, factors, layers or {})}
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _spelled(style: KeyStyle, name: str) -> str:
    if style is KeyStyle.LONGCAT:
        return name.replace(".", "___lorahyphen___")
    return name.replace(".", "_") if style in _FLATTENED else name


def _keys(style: KeyStyle, name: str, tensors: Tensors) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """The tensors of a layer under the names that follow the layer's."""
    parts = _LONGCAT_PARTS.get(name.rpartition(".")[2], 1) if style is KeyStyle.LONGCAT else 1
    if parts == 1:
        names = _NAMES.get(style, _A_B)
        yield from ((names[key], values) for key, values in tensors.items())
        return
    # Every part gets the same A, so that the whole is still B @ A.
    yield "lora_down.weight", np.concatenate([tensors["a"]] * parts)
    for index, part in enumerate(np.split(tensors["b"], parts)):
        yield f"lora_up.blocks.{index}.weight", part


def _alpha_tensor(adapter: Adapter) -> tuple[str, float] | None:
    if adapter.alpha is None:
        return None
    if adapter.style is KeyStyle.LORA_ALPHA:
        return "lora_alpha", adapter.alpha
    if adapter.style in (KeyStyle.ALPHA_SCALE, KeyStyle.LONGCAT):
        # LongCat's buffer holds alpha / rank already.
        return "alpha_scale", adapter.alpha / adapter.rank
    if adapter.style in (KeyStyle.ALPHA, *_NAMES):
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
