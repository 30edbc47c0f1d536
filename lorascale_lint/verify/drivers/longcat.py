"""LongCat-Video: `load_lora` and `enable_loras` of its transformer, with the loader of `lora_utils.py`.

Importable only in the child: imports torch and the target. Read and run at 6b3f4b85 (2026-05-27): the
loader makes a network from the names in the file, gives all of it one rank and alpha, loads it strictly, and
so takes the scale from the file's `.alpha_scale` buffers; nothing is merged.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from lorascale_lint.verify.drivers import torch_layers
from lorascale_lint.verify.protocol import (
    Capability,
    Layer,
    LayerKind,
    LayerSpec,
    ModelLayer,
    Naming,
    TargetFacts,
    Unsupported,
    Weights,
)
from lorascale_lint.verify.steps import KeyStyle

_PACKAGE = "longcat_video"
# Sparse attention, written in Triton for a GPU; no layer with an adapter goes through it.
_KERNEL = f"{_PACKAGE}.block_sparse_attention.bsa_interface"
_FUNCTION = "flash_attn_bsa_3d"

_TINY = {
    "in_channels": 4,
    "out_channels": 4,
    "hidden_size": 24,
    "depth": 1,
    "num_heads": 3,
    "caption_channels": 20,
    "mlp_ratio": 4,
    "adaln_tembed_dim": 16,
    "frequency_embedding_size": 32,
}


def _layer(name: str, shape: tuple[int, int]) -> ModelLayer:
    return ModelLayer(name, shape, {Naming.MODEL: name})


# None is square; qkv and kv_linear are fused of three and two.
_LAYERS = (
    _layer("blocks.0.attn.qkv", (72, 24)),
    _layer("blocks.0.cross_attn.kv_linear", (48, 24)),
    _layer("blocks.0.ffn.w2", (24, 256)),
    _layer("y_embedder.y_proj.0", (24, 20)),
)


def prepare(package: Path, import_mode: str) -> LongCatDriver:
    """Import the transformer from `package`. Raises whatever the import raises."""
    # The package has no `__init__`.
    _register(_PACKAGE).__path__ = [str(package)]
    setattr(_register(_KERNEL), _FUNCTION, _no_kernel)
    module = importlib.import_module(f"{_PACKAGE}.modules.longcat_video_dit")
    return LongCatDriver(module.LongCatVideoTransformer3DModel, package, import_mode)


def _register(name: str) -> ModuleType:
    sys.modules[name] = ModuleType(name)
    return sys.modules[name]


def _no_kernel(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("the sparse attention of the target was not imported")


class LongCatDriver:
    """The target's transformer, tiny, with its own LoRA methods."""

    layer_kinds: Sequence[LayerKind] = ()
    model_layers: Sequence[ModelLayer] = _LAYERS
    file_styles = (KeyStyle.LONGCAT,)
    file_prefix = ""
    capabilities = frozenset(
        {
            Capability.MODEL_LOAD,
            Capability.MODEL_CACHE,
            Capability.MODEL_STRENGTH,
            Capability.MODEL_ACCUMULATE,
        }
    )

    def __init__(self, transformer: Any, package: Path, import_mode: str) -> None:
        self._transformer = transformer
        self._facts = torch_layers.prepared(
            "LongCat-Video",
            torch_layers.version_of(package),
            import_mode,
            interventions=("weights are read from the outputs of the layers, since nothing is merged",),
            replaced_modules=(f"{_KERNEL} ({_FUNCTION} raises)",),
        )

    def facts(self) -> TargetFacts:
        """Nothing is stubbed."""
        return self._facts

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> Layer:
        """Adapters are put around the layers of a transformer only."""
        raise Unsupported("only whole models are examined")

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A transformer of one block with these weights."""
        transformer = self._transformer(**_TINY).eval()
        for name, weight in weights.items():
            torch_layers.copy_into(transformer.get_submodule(name).weight, weight)
        return _Model(transformer, list(weights))


class _Model:
    def __init__(self, transformer: Any, names: Sequence[str]) -> None:
        self._transformer = transformer
        self._names = names

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        enabled = [key for key in self._transformer.active_loras if accumulate and key != nickname]
        if folder is not None:
            (file,) = folder.glob("*.safetensors")
            # A new file must not find the layers wrapped by the old one of its name.
            self._transformer.disable_all_loras()
            self._transformer.load_lora(
                str(file), nickname, multiplier=strength, lora_network_dim=_rank_of(file)
            )
        self._transformer.enable_loras([*enabled, nickname])

    def merge(self) -> None:
        raise Unsupported("nothing is ever merged")

    def unmerge(self) -> None:
        raise Unsupported("nothing is ever merged")

    def weights(self) -> Mapping[str, Weights]:
        return {name: self._effective(self._transformer.get_submodule(name)) for name in self._names}

    def _effective(self, layer: Any) -> Weights:
        """The linear map that the layer is, with the adapters in use; out x in."""
        with torch.no_grad():
            outputs = torch_layers.array(layer(torch.eye(layer.in_features)))
        bias = 0.0 if layer.bias is None else torch_layers.array(layer.bias)
        return np.asarray((outputs - bias).T)

    def layers_with_factors(self) -> Collection[str]:
        return [name for name in self._names if hasattr(self._transformer.get_submodule(name), "org_forward")]


def _rank_of(file: Path) -> int:
    """The one rank of a file, which `load_lora` wants to be told; the columns of its up projections."""
    with safe_open(file, framework="numpy") as tensors:
        ups = [key for key in tensors.keys() if ".lora_up." in key]  # noqa: SIM118 (it is no mapping)
        ranks = {int(tensors.get_slice(key).get_shape()[1]) for key in ups}
    if len(ranks) > 1:
        raise Unsupported("the loader gives every layer one rank")
    return ranks.pop() if ranks else 128
