"""Layers of torch or mlx that hold a given weight, and small models of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from lorascale_lint.verify.harness import frameworks
from lorascale_lint.verify.harness.description import Geometry, Role


class CannotBuildError(Exception):
    """A value that this harness cannot make; the text is the reason."""


def nothing_of(*_inputs: Any, **_named: Any) -> float:
    """What a module gives that has nothing to say, beside whatever it is added to."""
    return 0.0


def layer_of(weight: Any, geometry: Geometry, role: Role) -> Any:
    """A layer with this weight; only a base has a bias, of zeros: most code copies that of what it wraps."""
    if (layers := frameworks.mlx_layers()) is not None and not geometry.extents:
        embedding = geometry is Geometry.EMBEDDING and role is Role.BASE
        made = (layers.Embedding if embedding else layers.Linear)(*weight.shape[:: 1 if embedding else -1])
        return with_weight(made, weight)
    torch = frameworks.torch_at_work()
    if torch is None:
        return SimpleNamespace(weight=weight)
    if geometry is Geometry.FOLDED and role is not Role.BASE:
        raise CannotBuildError("no layer has such a factor as its weight")
    nn = torch.nn
    biased = role is Role.BASE
    if geometry.extents:
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[geometry.extents - 1]
        made = convolution(weight.shape[1], weight.shape[0], weight.shape[-1], bias=biased)
    elif geometry is Geometry.EMBEDDING and role is Role.BASE:
        made = nn.Embedding(*weight.shape)
    else:
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=biased)
        # What layers of GPTQ are asked for.
        made.infeatures, made.outfeatures = made.in_features, made.out_features
    return with_weight(made, weight).eval()


def with_weight(layer: Any, weight: Any) -> Any:
    """The layer with this weight, and with zeros for its bias if it has one."""
    torch = frameworks.torch_at_work()
    if torch is None:
        layer.weight = weight
        if getattr(layer, "bias", None) is not None:
            layer.bias = layer.bias * 0
        return layer
    with torch.no_grad():
        if getattr(layer, "bias", None) is not None:
            layer.bias.zero_()
        layer.weight.copy_(weight)
    return layer


def model_of(layers: Mapping[str, Any], called: str = "Model") -> Any:
    """A model, of a class that is `called` so, in which every layer lies under its dotted name."""
    torch = frameworks.torch_at_work()
    if torch is None:
        raise CannotBuildError("a model needs torch")
    model = type(called, (torch.nn.Module,), {})()
    for name, layer in layers.items():
        owner = model
        *path, last = name.split(".")
        for step, following in zip(path, name.split(".")[1:], strict=True):
            if not hasattr(owner, step):
                # What is numbered lies in a list, as blocks do.
                listed = following.isdecimal()
                _put(owner, step, torch.nn.ModuleList() if listed else torch.nn.Module())
            owner = getattr(owner, step)
        _put(owner, last, layer)
    return model


def _put(owner: Any, name: str, module: Any) -> None:
    """As an attribute, or as an element of a list that is filled up before it."""
    if name.isdecimal() and hasattr(owner, "append"):
        while len(owner) < int(name):
            owner.append(type(owner)())
        owner.append(module)
    else:
        owner.add_module(name, module)
