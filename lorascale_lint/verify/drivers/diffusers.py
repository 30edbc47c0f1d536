"""diffusers: `load_lora_weights`, `fuse_lora`, `unfuse_lora` and `set_adapters` on a tiny Wan transformer.

Importable only in the child: imports torch and the target.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorascale_lint.verify.arrays import device_in_use
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
from lorascale_lint.verify.stubs import PackageFinder

_TINY = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 20,
    "freq_dim": 16,
    "ffn_dim": 36,
    "num_layers": 1,
    "cross_attn_norm": True,
}


def _layer(name: str, original: str, shape: tuple[int, int]) -> ModelLayer:
    return ModelLayer(name, shape, {Naming.MODEL: name, Naming.ORIGINAL: original})


# One whole block, which the converter of kohya's names wants; the second names are those of Wan's own code.
_LAYERS = (
    *(
        _layer(f"blocks.0.{attention}.{name}", f"blocks.0.{original}.{letter}", (24, 24))
        for attention, original in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for name, letter in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"))
    ),
    _layer("blocks.0.ffn.net.0.proj", "blocks.0.ffn.0", (36, 24)),
    _layer("blocks.0.ffn.net.2", "blocks.0.ffn.2", (24, 36)),
)


def prepare(package: Path, import_mode: str) -> DiffusersDriver:
    """Import diffusers from `package`. Raises whatever the import raises."""
    sys.meta_path.insert(0, PackageFinder("diffusers", str(package)))
    return DiffusersDriver(importlib.import_module("diffusers"), package, import_mode)


class DiffusersDriver:
    """A pipeline of diffusers' own classes that holds nothing but a tiny transformer."""

    layer_kinds: Sequence[LayerKind] = ()
    model_layers: Sequence[ModelLayer] = _LAYERS
    file_styles = (KeyStyle.DIFFUSERS_METADATA,)
    file_prefix = "transformer."
    capabilities = frozenset(
        {
            Capability.MODEL_LOAD,
            Capability.MODEL_CACHE,
            Capability.MODEL_MERGE,
            Capability.MODEL_STRENGTH,
            Capability.MODEL_ACCUMULATE,
        }
    )

    def __init__(self, diffusers: Any, package: Path, import_mode: str) -> None:
        self._diffusers = diffusers
        self._mixin = importlib.import_module("diffusers.loaders.lora_pipeline").WanLoraLoaderMixin
        self._facts = torch_layers.prepared(
            "diffusers",
            str(diffusers.__version__),
            import_mode,
            interventions=("a pipeline without text encoder, autoencoder and scheduler",),
        )

    def facts(self) -> TargetFacts:
        """Nothing is stubbed or replaced."""
        return self._facts

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> Layer:
        """The layers are PEFT's; see its driver."""
        raise Unsupported("single layers are PEFT's")

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A tiny Wan transformer with these weights, in a pipeline that can load adapters."""
        transformer = self._diffusers.WanTransformer3DModel(**_TINY).to(device_in_use())
        for name, weight in weights.items():
            torch_layers.copy_into(transformer.get_submodule(name).weight, weight)
        mixin = self._mixin

        class TinyPipeline(self._diffusers.DiffusionPipeline, mixin):  # type: ignore[misc, valid-type, name-defined]
            def __init__(self, transformer: Any) -> None:
                super().__init__()
                self.register_modules(transformer=transformer)

        return _Model(TinyPipeline(transformer), transformer, list(weights))


class _Model:
    def __init__(self, pipeline: Any, transformer: Any, names: Sequence[str]) -> None:
        self._pipeline = pipeline
        self._transformer = transformer
        self._names = names
        self._active: dict[str, float] = {}
        self._fused = False

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        if self._fused:
            self.unmerge()
        if folder is not None:
            (file,) = folder.glob("*.safetensors")
            if nickname in self._pipeline.get_list_adapters().get("transformer", ()):
                # The documented way to give a name to another adapter.
                self._pipeline.delete_adapters(nickname)
            self._pipeline.load_lora_weights(str(folder), weight_name=file.name, adapter_name=nickname)
        self._active = {**(self._active if accumulate else {}), nickname: strength}
        if nickname in self._pipeline.get_list_adapters().get("transformer", ()):
            self._pipeline.set_adapters(list(self._active), list(self._active.values()))
            self.merge()

    def merge(self) -> None:
        self._pipeline.fuse_lora(components=["transformer"])
        self._fused = True

    def unmerge(self) -> None:
        self._pipeline.unfuse_lora(components=["transformer"])
        self._fused = False

    def weights(self) -> Mapping[str, Weights]:
        modules = {name: self._transformer.get_submodule(name) for name in self._names}
        return {name: torch_layers.weight_of(getattr(m, "base_layer", m)) for name, m in modules.items()}

    def layers_with_factors(self) -> Collection[str]:
        return [name for name in self._names if hasattr(self._transformer.get_submodule(name), "lora_A")]
