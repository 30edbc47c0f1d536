"""A driver made of plain functions: one's own LoRA code in ten lines.

A *loader* is any object (a class, an instance, a module) with some of the functions below; a single function
is a loader too. Each takes what it needs by name:

- `merge(weight, a, b, alpha, rank, strength)`: the weight with the delta in it
- `unmerge(weight, a, b, alpha, rank, strength)`: the weight that `merge` was given (`weight` is merged)
- `forward(x, weight, bias, a, b, alpha, rank, strength)`: the output of a layer whose delta is not merged
- `load(weights, folder, strength)`: the model's weights (name to array) with the adapter file of `folder`
  in them; given back, or changed in place

`weight` is out x in, `a` rank x in, `b` out x rank. Only what is there is asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorascale_lint.verify.arrays import (
    NoSuchDtypeError,
    accepts,
    as_float64,
    as_offered,
    call_by_name,
    compiled,
    framework,
    has_default,
    poison_torch,
)
from lorascale_lint.verify.protocol import (
    Capability,
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

FUNCTIONS = ("merge", "unmerge", "forward", "load")

# Out x in; all numbers differ, so that mixed-up layers and transposed factors cannot fit by accident.
_LAYERS: Mapping[str, tuple[int, int]] = {
    "blocks.0.to_q": (72, 40),
    "blocks.0.to_v": (52, 40),
    "blocks.1.ffn.fc_out": (46, 88),
}


def is_loader(found: object) -> bool:
    """Whether `found` is an object with functions of a loader, or a function that is one by itself."""
    if inspect.isroutine(found):
        return accepts(found, "a") and accepts(found, "b")
    return any(callable(getattr(found, name, None)) for name in FUNCTIONS)


def key_style(name: str) -> KeyStyle:
    """The key style of that name ("kohya", "peft-folder"). Raises ValueError."""
    known = {style.name.lower().replace("_", "-"): style for style in KeyStyle}
    if name not in known:
        raise ValueError(f"there is no key style {name!r}; known styles: {', '.join(known)}")
    return known[name]


class OwnDriver:
    """A loader as a driver. `layers` and `styles` of the loader, if it has them, say what `load` is given."""

    def __init__(self, loader: Any, *, name: str) -> None:
        if inspect.isroutine(loader):
            functions = {"forward" if accepts(loader, "x") else "merge": loader}
        else:
            instance = loader() if inspect.isclass(loader) else loader
            functions = {key: getattr(instance, key) for key in FUNCTIONS if hasattr(instance, key)}
        self._functions: Mapping[str, Callable[..., Any]] = functions
        self._name = name
        self._layers: Mapping[str, tuple[int, int]] = getattr(loader, "layers", _LAYERS)
        self._interventions = poison_torch()
        self.file_styles = tuple(key_style(name) for name in getattr(loader, "styles", ("alpha",)))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the functions that are there offer."""
        functions = self._functions
        applied = [functions[key] for key in ("merge", "forward") if key in functions]
        tests = {
            Capability.LAYER_SETTER_ALPHA: bool(applied),
            Capability.LAYER_UNMERGED: "forward" in functions,
            Capability.LAYER_UNMERGE: "forward" in functions or "unmerge" in functions,
            Capability.LAYER_STRENGTH: bool(applied) and all(accepts(item, "strength") for item in applied),
            Capability.MODEL_LOAD: "load" in functions,
            Capability.MODEL_ANY_LAYER: "load" in functions,
            Capability.MODEL_STRENGTH: "load" in functions and accepts(functions["load"], "strength"),
        }
        return frozenset(name for name, there in tests.items() if there)

    @property
    def layer_kinds(self) -> Sequence[LayerKind]:
        """One kind, if there is a function for a single layer."""
        return [LayerKind("layer")] if self._functions.keys() - {"load"} else []

    @property
    def model_layers(self) -> Sequence[ModelLayer]:
        """The layers that `load` is given."""
        return [
            ModelLayer(name, (shape[0], shape[1]), {Naming.MODEL: name})
            for name, shape in self._layers.items()
        ]

    @property
    def file_prefix(self) -> str:
        """Names stand in files as they are."""
        return ""

    def facts(self) -> TargetFacts:
        """Nothing is stubbed or replaced."""
        return TargetFacts(
            name=self._name,
            version="",
            framework=framework(),
            import_mode="own driver",
            interventions=self._interventions,
            stubs={},
            replaced_modules=(),
        )

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> _OwnLayer:
        """A layer on which the functions are called."""
        return _OwnLayer(self._functions, spec.dtype, weight, bias)

    def make_model(self, weights: Mapping[str, Weights]) -> _OwnModel:
        """Weights that `load` is called on."""
        return _OwnModel(self._functions["load"], weights)

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> _OwnModel:
        """One weight, by the name that its module has in the file less what is put before it."""
        return _OwnModel(self._functions["load"], {layer_name(module): weight}, dtype)


class _OwnLayer:
    def __init__(
        self, functions: Mapping[str, Callable[..., Any]], dtype: str, weight: Weights, bias: Weights
    ) -> None:
        self._functions = functions
        self._dtype = dtype
        self._base = self._array(weight)
        self._bias = self._array(bias)
        # None: nobody has said what the weight is now.
        self._weight: Any = self._base
        self._merged = False
        self._offered: dict[str, Any] = {}

    def _array(self, values: Weights) -> Any:
        try:
            return as_offered(values, self._dtype)
        except NoSuchDtypeError as error:
            raise Unsupported(str(error)) from error

    def _call(self, name: str, weight: Any, **more: Any) -> Any:
        function = self._functions[name] if name != "forward" else compiled(self._functions[name])
        if (
            self._offered["alpha"] is None
            and accepts(function, "alpha")
            and not has_default(function, "alpha")
        ):
            raise Unsupported(f"{name} wants an alpha")
        return call_by_name(function, {"weight": weight, **self._offered, **more})

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        self._offered = {
            "a": self._array(a),
            "b": self._array(b),
            "alpha": alpha,
            "rank": int(a.shape[0]),
            "strength": strength,
        }
        self.merge()
        return ""

    def train_factors(self, a: Weights, b: Weights) -> None:
        raise Unsupported("the driver trains nothing")

    def merge(self) -> None:
        if "merge" in self._functions:
            # A copy, because the function may add in place; then it need not give anything back.
            self._weight = self._array(as_float64(self._base))
            self._replace("merge")
        else:
            self._weight = None
        self._merged = True

    def unmerge(self) -> None:
        if "unmerge" in self._functions:
            self._replace("unmerge")
        else:
            self._weight = None
        self._merged = False

    def _replace(self, name: str) -> None:
        answer = self._call(name, self._weight)
        self._weight = self._weight if answer is None else answer

    def weight(self) -> Weights:
        if self._weight is None:
            raise Unsupported(f"the driver has no {'merge' if self._merged else 'unmerge'}")
        return as_float64(self._weight)

    def forward(self, x: Weights) -> Weights:
        if self._merged or "forward" not in self._functions:
            raise Unsupported("the driver has no forward of a merged layer")
        return as_float64(self._call("forward", self._base, x=self._array(x), bias=self._bias))


class _OwnModel:
    def __init__(
        self, load: Callable[..., Any], weights: Mapping[str, Weights], dtype: str = "float32"
    ) -> None:
        self._load = load
        self._weights: dict[str, Any] = {name: as_offered(weight, dtype) for name, weight in weights.items()}

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        offered = {"weights": self._weights, "folder": folder, "strength": strength}
        answer = call_by_name(self._load, offered)
        if answer is not None:
            self._weights = dict(answer)

    def merge(self) -> None:
        raise Unsupported("the driver merges single layers only")

    def unmerge(self) -> None:
        raise Unsupported("the driver unmerges single layers only")

    def weights(self) -> Mapping[str, Weights]:
        return {name: as_float64(weight) for name, weight in self._weights.items()}

    def layers_with_factors(self) -> Collection[str]:
        return ()
