"""DiffSynth-Studio: `GeneralLoRALoader`, 1.x (`load`) and 2.x (`fuse_lora_to_base_model`).

Importable only in the child: imports torch and the target's loader file, which needs nothing else; the
package around it imports what a whole pipeline needs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

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
from lorascale_lint.verify.real_adapters import layer_name
from lorascale_lint.verify.steps import KeyStyle

_FILES = ("utils/lora/general.py", "lora/__init__.py")


def prepare(package: Path, import_mode: str) -> DiffSynthDriver:
    """Import the loader's file. Raises whatever the import raises, and ImportError if there is none."""
    for name in _FILES:
        path = package / name
        if path.is_file():
            spec = importlib.util.spec_from_file_location("diffsynth_lora_loader", path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{path} cannot be imported")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return DiffSynthDriver(module.GeneralLoRALoader, package, import_mode)
    raise ImportError(f"none of {', '.join(_FILES)} is there")


class DiffSynthDriver:
    """The loader on a module with a few linear layers."""

    layer_kinds: Sequence[LayerKind] = ()
    model_layers: Sequence[ModelLayer] = torch_layers.model_layers(Naming.MODEL, Naming.ORIGINAL)
    file_prefix = ""
    capabilities = frozenset({Capability.MODEL_LOAD, Capability.MODEL_STRENGTH, Capability.MODEL_ANY_LAYER})

    def __init__(self, loader: Any, package: Path, import_mode: str) -> None:
        self._loader = loader
        # 1.x merges into the weights too, and knows other names.
        self._apply = "fuse_lora_to_base_model" if hasattr(loader, "fuse_lora_to_base_model") else "load"
        reads_kohya = hasattr(loader, "convert_state_dict")
        self.file_styles = (
            KeyStyle.ALPHA,
            KeyStyle.NAMED_ADAPTER,
            *((KeyStyle.KOHYA,) if reads_kohya else ()),
        )
        self._facts = torch_layers.prepared(
            "DiffSynth-Studio",
            torch_layers.version_of(package),
            import_mode,
            replaced_modules=(f"{package.name} (only the loader's file was imported)",),
        )

    def facts(self) -> TargetFacts:
        """Nothing is stubbed."""
        return self._facts

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> Layer:
        """The loader knows whole models only."""
        raise Unsupported("only whole models are examined")

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A module with a few linear layers."""
        return self._model(weights, "float32")

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> _Model:
        """A module with one linear layer."""
        return self._model({layer_name(module): weight}, dtype)

    def _model(self, weights: Mapping[str, Weights], dtype: str) -> _Model:
        root = torch_layers.make_model(weights, dtype)
        return _Model(self._loader(device=device_in_use()), self._apply, root, list(weights))


class _Model:
    def __init__(self, loader: Any, apply: str, root: Any, names: Sequence[str]) -> None:
        self._loader = loader
        self._apply = getattr(loader, apply)
        self._root = root
        self._names = names

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        if folder is None:
            raise Unsupported("adapters have no names")
        (file,) = folder.glob("*.safetensors")
        told = {} if strength == 1 else {"alpha": strength}
        self._apply(self._root, load_file(file), **told)

    def merge(self) -> None:
        raise Unsupported("a merged adapter stays")

    def unmerge(self) -> None:
        raise Unsupported("a merged adapter stays")

    def weights(self) -> Mapping[str, Weights]:
        return {name: torch_layers.weight_of(self._root.get_submodule(name)) for name in self._names}

    def layers_with_factors(self) -> Collection[str]:
        return ()
