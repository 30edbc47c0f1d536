"""Plain torch layers and models for drivers of packages that wrap any torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lorascale_lint.verify.arrays import (
    as_float64,
    as_offered,
    compiled,
    device_in_use,
    framework,
    poison_torch,
)
from lorascale_lint.verify.harness.models import model_of
from lorascale_lint.verify.protocol import (
    LayerSpec,
    ModelLayer,
    Naming,
    TargetFacts,
    Unsupported,
    Weights,
)

LINEAR, CONVOLUTION, EMBEDDING = "Linear", "Conv2d", "Embedding"
# Out x in, the kernel of the convolution flattened.
CONVOLUTION_SHAPE = (44, 6 * 3 * 3)
_KERNEL = 3

# Out x in; all numbers differ, so that mixed-up layers and transposed factors cannot fit by accident.
_SHAPES: Mapping[str, tuple[int, int]] = {
    "blocks.0.to_q": (72, 40),
    "blocks.0.to_out": (44, 76),
    "blocks.1.ffn.fc_in": (100, 48),
    "blocks.1.ffn.fc_out": (46, 88),
}


def prepared(
    name: str,
    version: str,
    import_mode: str,
    *,
    interventions: Sequence[str] = (),
    replaced_modules: Sequence[str] = (),
) -> TargetFacts:
    """What the report says of a target of which nothing is stubbed; poisons torch (see `poison_torch`)."""
    return TargetFacts(
        name=name,
        version=version,
        framework=framework(),
        import_mode=import_mode,
        interventions=(*poison_torch(), *interventions),
        stubs={},
        replaced_modules=replaced_modules,
    )


def tensor(values: Weights, dtype: str = "float32") -> Any:
    """A new torch tensor."""
    return as_offered(values, dtype)


def array(values: Any) -> Weights:
    """A float64 copy of a torch tensor."""
    return as_float64(values)


def model_layers(*namings: Naming) -> Sequence[ModelLayer]:
    """The layers of `make_model`, called the same in files under each of the namings."""
    return [ModelLayer(name, shape, dict.fromkeys(namings, name)) for name, shape in _SHAPES.items()]


def make_module(kind: str, weight: Weights, bias: Weights, dtype: str, *, host_resident: bool = False) -> Any:
    """A torch layer of a kind whose name begins with one of those above, with this weight (out x in)."""
    out_features, in_features = (int(size) for size in weight.shape)
    base = kind.partition(" ")[0]
    if base == EMBEDDING:
        module = torch.nn.Embedding(in_features, out_features)
    elif base == CONVOLUTION:
        module = torch.nn.Conv2d(in_features // _KERNEL**2, out_features, _KERNEL)
    else:
        module = torch.nn.Linear(in_features, out_features)
    place = "cpu" if host_resident else device_in_use()
    module = module.to(device=place, dtype=getattr(torch, dtype))
    with torch.no_grad():
        values = weight.T if base == EMBEDDING else weight
        module.weight.copy_(tensor(values, dtype).reshape(module.weight.shape))
        if base != EMBEDDING:
            module.bias.copy_(tensor(bias, dtype))
    return module.eval()


def weight_of(module: Any) -> Weights:
    """The weight of a layer of `make_module`, out x in."""
    values = array(module.weight)
    return values.T if isinstance(module, torch.nn.Embedding) else values.reshape(len(values), -1)


def outputs(layer: Any, kind: str, x: Weights, bias: Weights, dtype: str) -> Weights:
    """The outputs of a layer, wrapped or not, for inputs of samples x in."""
    base = kind.partition(" ")[0]
    layer = compiled(layer)
    with torch.no_grad():
        if base == EMBEDDING:
            # An embedding is linear in its one-hot tokens and has no bias.
            tokens = torch.arange(x.shape[1], device=device_in_use())
            return np.asarray(x @ array(layer(tokens)) + bias)
        inputs = tensor(x, dtype)
        if base == CONVOLUTION:
            inputs = inputs.reshape(len(x), -1, _KERNEL, _KERNEL)
        return array(layer(inputs)).reshape(len(x), -1)


def copy_into(parameter: Any, values: Weights) -> None:
    """Write a factor into a parameter of the same number of elements."""
    with torch.no_grad():
        parameter.copy_(tensor(values).reshape(parameter.shape))


def make_model(weights: Mapping[str, Weights], dtype: str = "float32") -> Any:
    """A module whose linear layers have these dotted names."""
    return model_of(
        {name: make_module(LINEAR, weight, np.zeros(len(weight)), dtype) for name, weight in weights.items()}
    )


def version_of(package: Path) -> str:
    """The version that a package folder says it has: its own, or that of the metadata beside it."""
    name = package.name.replace("-", "_")
    beside = sorted(package.parent.glob(f"{name}*.dist-info"))
    for folder in beside:
        return folder.name.removesuffix(".dist-info").rpartition("-")[2]
    file = package / "__init__.py"
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        if line.startswith("__version__"):
            return line.partition("=")[2].strip().strip("\"'")
    return "unknown"


def refuse(spec: LayerSpec, known: Sequence[str]) -> None:
    """Raise Unsupported for a kind that is not known."""
    if spec.kind not in known:
        raise Unsupported(f"there is no {spec.kind}")
