"""LyCORIS: its LoCon, LoHa and LoKr modules.

Importable only in the child: imports torch and the target.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lorascale_lint.verify.adapter_files import LOHA_NAMES, LOKR_NAMES
from lorascale_lint.verify.drivers import torch_layers
from lorascale_lint.verify.drivers.torch_layers import CONVOLUTION, CONVOLUTION_SHAPE, LINEAR
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
from lorascale_lint.verify.steps import KeyStyle
from lorascale_lint.verify.stubs import PackageFinder

_RSLORA, _DORA = f"{LINEAR} with rsLoRA", f"{LINEAR} with DoRA"
_LOHA, _LOKR = f"{LINEAR} with LoHa", f"{LINEAR} with LoKr"
_CONVOLUTION_LOHA = f"{CONVOLUTION} with LoHa"
_KRONECKER = 4
_KOHYA = "lora_unet_"

# What LoCon calls its tensors.
_LOCON_NAMES = {"a": "lora_down.weight", "b": "lora_up.weight", "magnitude": "dora_scale"}


def prepare(package: Path, import_mode: str) -> LycorisDriver:
    """Import LyCORIS from `package`. Raises whatever the import raises."""
    sys.meta_path.insert(0, PackageFinder("lycoris", str(package)))
    return LycorisDriver(
        importlib.import_module("lycoris.modules"),
        importlib.import_module("lycoris.wrapper"),
        package,
        import_mode,
    )


class LycorisDriver:
    """LyCORIS's modules on plain torch layers."""

    file_prefix = ""
    file_styles = (KeyStyle.LYCORIS, KeyStyle.LOHA, KeyStyle.LOKR, KeyStyle.KOHYA_FLAT)
    model_layers: Sequence[ModelLayer] = torch_layers.model_layers(Naming.MODEL)
    layer_kinds: Sequence[LayerKind] = (
        LayerKind(LINEAR),
        LayerKind(CONVOLUTION, shape=CONVOLUTION_SHAPE),
        LayerKind(_RSLORA, rslora=True),
        LayerKind(_DORA, form=Form.DORA),
        LayerKind(_LOHA, form=Form.HADAMARD),
        LayerKind(_CONVOLUTION_LOHA, form=Form.HADAMARD, shape=CONVOLUTION_SHAPE),
        LayerKind(_LOKR, form=Form.KRONECKER),
    )
    capabilities = frozenset(
        {
            Capability.LAYER_UNMERGED,
            Capability.LAYER_UNMERGE,
            Capability.LAYER_SETTER_ALPHA,
            Capability.LAYER_STRENGTH,
            Capability.LAYER_HOST_RESIDENT,
            Capability.MODEL_LOAD,
            Capability.MODEL_STRENGTH,
        }
    )

    def __init__(self, modules: Any, wrapper: Any, package: Path, import_mode: str) -> None:
        self._modules = modules
        self._wrapper = wrapper
        self._facts = torch_layers.prepared(
            "LyCORIS",
            torch_layers.version_of(package),
            import_mode,
            interventions=("a layer's backup of its weight is a copy, as it is on a device",),
        )

    def facts(self) -> TargetFacts:
        """Nothing is stubbed or replaced."""
        return self._facts

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> _Layer:
        """A torch layer; the module is made as soon as rank and alpha are known."""
        torch_layers.refuse(spec, [kind.name for kind in self.layer_kinds])
        return _Layer(self._modules, spec, weight, bias)

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A module with a few linear layers."""
        return _Model(self._wrapper, torch_layers.make_model(weights), list(weights))


class _Layer:
    def __init__(self, modules: Any, spec: LayerSpec, weight: Weights, bias: Weights) -> None:
        self._modules = modules
        self._spec = spec
        self._bias = bias
        self._base = torch_layers.make_module(
            spec.kind, weight, bias, spec.dtype, host_resident=spec.host_resident
        )
        self._module: Any = None
        self._merged = False

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        return self.set_tensors({"a": a, "b": b}, alpha=alpha, strength=strength)

    def set_tensors(self, tensors: Mapping[str, Weights], *, alpha: float | None, strength: float) -> str:
        if self._module is not None and self._merged:
            self.unmerge()
        kind = self._spec.kind
        told: dict[str, Any] = {
            "lora_dim": int(tensors["a"].shape[0]),
            "alpha": alpha,
            "multiplier": strength,
        }
        names, cls = _LOCON_NAMES, self._modules.LoConModule
        if kind in (_LOHA, _CONVOLUTION_LOHA):
            names, cls = LOHA_NAMES, self._modules.LohaModule
        elif kind == _LOKR:
            names, cls = LOKR_NAMES, self._modules.LokrModule
            told["factor"] = _KRONECKER
        elif kind == _RSLORA:
            told["rs_lora"] = True
        elif kind == _DORA:
            told["weight_decompose"] = True
        module = self._module = cls("layer", self._base, **told)
        parameters = dict(module.named_parameters())
        for name, values in tensors.items():
            torch_layers.copy_into(parameters[names[name]], values)
        self._module.to(self._base.weight)
        self.merge()
        return ""

    def train_factors(self, a: Weights, b: Weights) -> None:
        raise Unsupported("training is not examined")

    def merge(self) -> None:
        module = self._module
        module.restore()
        before = self._base.weight.detach().clone()
        module.onfly_merge(module.multiplier)
        if not self._spec.host_resident:
            # On the CPU the backup is the weight itself; on a device it is a copy.
            module.cached_org_weight = before
        self._merged = True

    def unmerge(self) -> None:
        self._module.onfly_restore()
        self._module.apply_to()
        self._merged = False

    def weight(self) -> Weights:
        return torch_layers.weight_of(self._base)

    def forward(self, x: Weights) -> Weights:
        return torch_layers.outputs(self._base, self._spec.kind, x, self._bias, self._spec.dtype)


class _Model:
    """`merge_to` of what reads the file: `lycoris.kohya` for kohya's names, else the wrapper."""

    def __init__(self, wrapper: Any, root: Any, names: Sequence[str]) -> None:
        self._wrapper = wrapper
        self._root = root
        self._names = names
        self._loaded: set[str] = set()

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        if folder is None:
            raise Unsupported("adapters have no names")
        (file,) = folder.glob("*.safetensors")
        if _is_kohya(file):
            if strength != 1:
                raise Unsupported("merging a file with kohya's names takes no strength")
            kohya = importlib.import_module("lycoris.kohya")
            network, tensors = kohya.create_network_from_weights(1.0, str(file), None, [], self._root)
            network.merge_to([], self._root, tensors, None, None)
        else:
            network, _ = self._wrapper.create_lycoris_from_weights(strength, str(file), self._root)
            network.merge_to(strength)
        self._loaded |= {module.lora_name for module in network.loras}

    def merge(self) -> None:
        raise Unsupported("a merged adapter stays")

    def unmerge(self) -> None:
        raise Unsupported("a merged adapter stays")

    def weights(self) -> Mapping[str, Weights]:
        return {name: torch_layers.weight_of(self._root.get_submodule(name)) for name in self._names}

    def layers_with_factors(self) -> Collection[str]:
        flat = {name: name.replace(".", "_") for name in self._names}
        return [name for name in self._names if {f"lycoris_{flat[name]}", _KOHYA + flat[name]} & self._loaded]


def _is_kohya(file: Path) -> bool:
    with safe_open(file, framework="numpy") as tensors:
        return any(key.startswith(_KOHYA) for key in tensors.keys())  # noqa: SIM118 (it is no mapping)
