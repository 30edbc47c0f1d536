"""PEFT: its LoRA layers (linear, convolution, embedding; rsLoRA, DoRA) and `PeftModel`.

Importable only in the child: imports torch and the target.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lorascale_lint.verify.adapter_files import LOHA_NAMES, LOKR_NAMES
from lorascale_lint.verify.drivers import torch_layers
from lorascale_lint.verify.drivers.torch_layers import CONVOLUTION, CONVOLUTION_SHAPE, EMBEDDING, LINEAR
from lorascale_lint.verify.protocol import (
    Capability,
    Form,
    LayerKind,
    LayerSpec,
    ModelLayer,
    Naming,
    TargetFacts,
    Unsupported,
    Weights,
)
from lorascale_lint.verify.real_adapters import layer_name
from lorascale_lint.verify.steps import KeyStyle
from lorascale_lint.verify.stubs import PackageFinder

_NAME = "default"
_RSLORA, _DORA = f"{LINEAR} with rsLoRA", f"{LINEAR} with DoRA"
_LOHA, _LOKR = f"{LINEAR} with LoHa", f"{LINEAR} with LoKr"
_KRONECKER = 4


def prepare(package: Path, import_mode: str) -> PeftDriver:
    """Import PEFT from `package`. Raises whatever the import raises."""
    sys.meta_path.insert(0, PackageFinder("peft", str(package)))
    return PeftDriver(importlib.import_module("peft"), package, import_mode)


class PeftDriver:
    """PEFT's own classes on plain torch layers."""

    file_styles = (KeyStyle.PEFT_FOLDER,)
    file_prefix = ""
    model_layers: Sequence[ModelLayer] = torch_layers.model_layers(Naming.MODEL)
    layer_kinds: Sequence[LayerKind] = (
        LayerKind(LINEAR),
        LayerKind(_RSLORA, rslora=True),
        LayerKind(_DORA, form=Form.DORA),
        LayerKind(CONVOLUTION, shape=CONVOLUTION_SHAPE),
        LayerKind(EMBEDDING),
        LayerKind(_LOHA, form=Form.HADAMARD),
        LayerKind(_LOKR, form=Form.KRONECKER),
    )
    capabilities = frozenset(
        {
            Capability.LAYER_UNMERGED,
            Capability.LAYER_UNMERGE,
            Capability.LAYER_TRAINING,
            Capability.LAYER_CONSTRUCTOR_ALPHA,
            Capability.LAYER_STRENGTH,
            Capability.LAYER_HOST_RESIDENT,
            Capability.MODEL_LOAD,
            Capability.MODEL_CACHE,
            Capability.MODEL_MERGE,
            Capability.MODEL_STRENGTH,
            Capability.MODEL_ACCUMULATE,
            Capability.MODEL_ANY_LAYER,
        }
    )

    def __init__(self, peft: Any, package: Path, import_mode: str) -> None:
        self._peft = peft
        version = str(getattr(peft, "__version__", "unknown"))
        self._facts = torch_layers.prepared("PEFT", version, import_mode)

    def facts(self) -> TargetFacts:
        """Nothing is stubbed or replaced."""
        return self._facts

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> _Layer:
        """A torch layer; PEFT wraps it as soon as the rank is known."""
        torch_layers.refuse(spec, [kind.name for kind in self.layer_kinds])
        return _Layer(self._peft, spec, weight, bias)

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A module with a few linear layers."""
        return _Model(self._peft, torch_layers.make_model(weights), list(weights))

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> _Model:
        """A module with one linear layer."""
        name = layer_name(module)
        return _Model(self._peft, torch_layers.make_model({name: weight}, dtype), [name])


class _Layer:
    def __init__(self, peft: Any, spec: LayerSpec, weight: Weights, bias: Weights) -> None:
        self._peft = peft
        self._spec = spec
        self._bias = bias
        self._base = torch_layers.make_module(
            spec.kind, weight, bias, spec.dtype, host_resident=spec.host_resident
        )
        self._wrapped: Any = None

    def _config(self, rank: int) -> Any:
        kind, alpha = self._spec.kind, self._spec.alpha
        name, field = "LoraConfig", "lora_alpha"
        told: dict[str, Any] = {}
        if kind == _RSLORA:
            told["use_rslora"] = True
        elif kind == _DORA:
            told["use_dora"] = True
        elif kind == _LOHA:
            name, field = "LoHaConfig", "alpha"
        elif kind == _LOKR:
            name, field = "LoKrConfig", "alpha"
            told["decompose_factor"] = _KRONECKER
        if alpha is not None:
            told[field] = alpha
        config = getattr(self._peft, name)(r=self._spec.rank or rank, target_modules=["layer"], **told)
        if alpha is None and getattr(config, field) != config.r:
            raise Unsupported("a PEFT configuration always has an alpha")
        return config

    def _wrap(self, rank: int) -> Any:
        config = self._config(rank)
        root = torch.nn.Module()
        root.add_module("layer", self._base)
        model = self._peft.PeftModel(root, config, autocast_adapter_dtype=False)
        model.train(self._spec.training)
        return model.base_model.model.layer

    def _fill(self, tensors: Mapping[str, Weights]) -> None:
        if self._wrapped is not None:
            raise Unsupported("factors are set once, by loading an adapter")
        layer = self._wrapped = self._wrap(int(tensors["a"].shape[0]))
        if self._spec.kind in (_LOHA, _LOKR):
            # PEFT's attributes are called like LyCORIS's tensors, each a dictionary by adapter.
            names = LOHA_NAMES if self._spec.kind == _LOHA else LOKR_NAMES
            for name, values in tensors.items():
                torch_layers.copy_into(getattr(layer, names[name])[_NAME], values)
        elif self._spec.kind == EMBEDDING:
            torch_layers.copy_into(layer.lora_embedding_A[_NAME], tensors["a"])
            torch_layers.copy_into(layer.lora_embedding_B[_NAME], tensors["b"])
        else:
            torch_layers.copy_into(layer.lora_A[_NAME].weight, tensors["a"])
            torch_layers.copy_into(layer.lora_B[_NAME].weight, tensors["b"])
        if "magnitude" in tensors:
            torch_layers.copy_into(layer.lora_magnitude_vector[_NAME].weight, tensors["magnitude"])

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        return self.set_tensors({"a": a, "b": b}, alpha=alpha, strength=strength)

    def set_tensors(self, tensors: Mapping[str, Weights], *, alpha: float | None, strength: float) -> str:
        self._fill(tensors)
        if strength != 1:
            self._wrapped.set_scale(_NAME, strength)
        self.merge()
        return ""

    def train_factors(self, a: Weights, b: Weights) -> None:
        self._fill({"a": a, "b": b})

    def merge(self) -> None:
        self._wrapped.merge()

    def unmerge(self) -> None:
        self._wrapped.unmerge()

    def weight(self) -> Weights:
        return torch_layers.weight_of(self._base)

    def forward(self, x: Weights) -> Weights:
        layer = self._base if self._wrapped is None else self._wrapped
        return torch_layers.outputs(layer, self._spec.kind, x, self._bias, self._spec.dtype)


class _Model:
    def __init__(self, peft: Any, root: Any, names: Sequence[str]) -> None:
        self._peft = peft
        self._root = root
        self._names = names
        self._model: Any = None
        self._active: list[str] = []

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        if self._model is not None:
            self._model.unmerge_adapter()
        if folder is not None:
            self._read(nickname, folder)
        self._active = [*(self._active if accumulate else ()), nickname]
        self._model.base_model.set_adapter(self._active)
        if strength != 1:
            for module in self._layers():
                if nickname in module.scaling:
                    module.set_scale(nickname, strength)
        self.merge()

    def _read(self, nickname: str, folder: Path) -> None:
        if self._model is None:
            config = self._peft.PeftConfig.from_pretrained(str(folder))
            # A task is that of a whole model, which a few layers are not; it has nothing to do with scales.
            config.task_type = None
            self._model = self._peft.PeftModel.from_pretrained(
                self._root, str(folder), adapter_name=nickname, config=config
            )
            return
        if nickname in self._model.peft_config:
            # The documented way to give a name to another adapter.
            self._model.delete_adapter(nickname)
        self._model.load_adapter(str(folder), adapter_name=nickname)

    def _layers(self) -> Sequence[Any]:
        found = (self._root.get_submodule(name) for name in self._names)
        return [module for module in found if hasattr(module, "set_scale")]

    def merge(self) -> None:
        self._model.merge_adapter()

    def unmerge(self) -> None:
        self._model.unmerge_adapter()

    def weights(self) -> Mapping[str, Weights]:
        modules = {name: self._root.get_submodule(name) for name in self._names}
        return {name: torch_layers.weight_of(getattr(m, "base_layer", m)) for name, m in modules.items()}

    def layers_with_factors(self) -> Collection[str]:
        return [name for name in self._names if hasattr(self._root.get_submodule(name), "lora_A")]
