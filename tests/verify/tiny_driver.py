"""A driver for `tiny_target.py`; needs NumPy only, so that its child starts in a fraction of a second."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lorascale_lint.verify.protocol import (
    Capability,
    LayerKind,
    LayerSpec,
    ModelLayer,
    Naming,
    TargetFacts,
    Weights,
)
from lorascale_lint.verify.real_adapters import layer_name
from lorascale_lint.verify.registry import DriverEntry

_LACKING = {
    Capability.LAYER_TRAINING,
    Capability.LAYER_HOST_RESIDENT,
    Capability.MODEL_ACCUMULATE,
}
_LAYERS = tuple(
    ModelLayer(
        name,
        shape,
        {Naming.MODEL: name, Naming.PUBLISHED: f"published.{name}", Naming.ORIGINAL: f"original.{name}"},
    )
    for name, shape in (("one", (30, 20)), ("two", (18, 26)))
)


def _locate(path: Path) -> Path | None:
    return path if (path / "behaviour.txt").is_file() else None


def prepare(package: Path, import_mode: str) -> TinyDriver:
    spec = importlib.util.spec_from_file_location("tiny_target", package / "tiny_target.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_target"] = module
    spec.loader.exec_module(module)
    return TinyDriver(module, import_mode)


class TinyDriver:
    def __init__(self, module: Any, import_mode: str) -> None:
        self._module = module
        self._import_mode = import_mode

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability) - _LACKING

    @property
    def layer_kinds(self) -> Sequence[LayerKind]:
        return [LayerKind("Layer")]

    @property
    def model_layers(self) -> Sequence[ModelLayer]:
        return _LAYERS

    @property
    def file_prefix(self) -> str:
        return ""

    def facts(self) -> TargetFacts:
        return TargetFacts(
            name="Tiny",
            version="1",
            framework="NumPy",
            import_mode=self._import_mode,
            interventions=["nothing at all"],
            stubs={"imaginary": ["part"]},
            replaced_modules=["tiny.other"],
        )

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> _Layer:
        return _Layer(self._module.Layer(weight, bias, spec.alpha))

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        return _Model(self._module.Model(weights))

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> _Model:
        return self.make_model({layer_name(module): weight})


class _Layer:
    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        self._layer.set(a, b, alpha=alpha, strength=strength)
        return ""

    def train_factors(self, a: Weights, b: Weights) -> None:
        raise NotImplementedError

    def merge(self) -> None:
        self._layer.merge()

    def unmerge(self) -> None:
        self._layer.unmerge()

    def weight(self) -> Weights:
        return np.array(self._layer.weight)

    def forward(self, x: Weights) -> Weights:
        return np.array(self._layer.forward(x))


class _Model:
    def __init__(self, model: Any) -> None:
        self._model = model

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        self._model.load(nickname, folder, strength)

    def merge(self) -> None:
        for layer in self._model.layers.values():
            layer.merge()

    def unmerge(self) -> None:
        for layer in self._model.layers.values():
            layer.unmerge()

    def weights(self) -> Mapping[str, Weights]:
        return {name: np.array(layer.weight) for name, layer in self._model.layers.items()}

    def layers_with_factors(self) -> Collection[str]:
        return [name for name, layer in self._model.layers.items() if layer.delta is not None]


ENTRY = DriverEntry(
    name="tiny", factory=f"{Path(__file__).resolve()}:prepare", locate=_locate, looks_for="a tiny target"
)
