"""What a program really does: it is run with torch, and its effect compared with the unscaled delta."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.generated.compose import Composed

INPUTS, OUTPUTS = 10, 6
TRIPLES = ((8.0, 4, 1.0), (3.0, 4, 1.0), (8.0, 2, 1.0), (8.0, 4, 0.5), (12.0, 3, 2.0))
"""Values of (alpha, rank, strength); any two monomials of the field differ at one."""
DEFAULTS = {"use_rslora": False, "rescale": True, "upcast": False, "set_scale": True, "dropout": 0.0}


class SelfCheck(Exception):
    """The program does not do what the generator says: a mistake of the generator."""


@contextmanager
def _modules(files: Mapping[str, str]) -> Iterator[ModuleType]:
    """Import the files of a project from memory; the main module."""
    names = {name: name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    order = sorted(files, key=lambda name: (name == "layer.py", name.endswith("__init__.py"), name))
    made = {}
    for name in order:
        made[name] = ModuleType(names[name])
        if name.endswith("__init__.py"):
            made[name].__path__ = []
        sys.modules[names[name]] = made[name]
    try:
        for name in order:
            exec(compile(files[name], name, "exec"), made[name].__dict__)
        yield made["layer.py"]
    finally:
        for name in order:
            sys.modules.pop(names[name], None)


def _base(kind: str, weight: torch.Tensor) -> nn.Module:
    if kind == "conv":
        layer: nn.Module = nn.Conv2d(INPUTS, OUTPUTS, 1, bias=False)
    else:
        layer = nn.Linear(INPUTS, OUTPUTS, bias=False)
    layer.weight.data.copy_(weight)
    return layer


class _Model(nn.Module):  # type: ignore[misc]  # torch is not seen by mypy
    """A model with one module, under the name that the adapter's keys have."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"proj": layer})])


def _environment(composed: Composed) -> dict[str, Any]:
    bases = composed.layout.bases
    output = F.conv2d if bases == "conv" else F.linear
    return {
        "torch": torch,
        "base_of": lambda weight: _base(bases, weight),
        "model_of": lambda weight: _Model(_base(bases, weight)),
        "base_output": output,
    }


def check(composed: Composed) -> None:
    """Run every scenario of every application; raises ``SelfCheck`` where the formula does not hold."""
    with torch.no_grad(), _float64(), _modules(composed.files) as module:
        environment = _environment(composed)
        exec(composed.driver, environment)
        for kind, scenarios in composed.scenarios.items():
            for scenario in filter(lambda item: item.runs, scenarios):
                for alpha, rank, strength in TRIPLES:
                    settings = {**DEFAULTS, **scenario.settings}
                    given = settings.pop("alpha", alpha)
                    measured = _measure(composed, environment, module, kind, given, rank, strength, settings)
                    expected = scenario.formula.value(alpha, rank, strength)
                    if abs(measured - expected) > 1e-9 * max(1.0, abs(expected)):
                        place = f"alpha {given}, rank {rank}, strength {strength}, {dict(scenario.settings)}"
                        raise SelfCheck(
                            f"{kind}: {measured:.6g}, but {expected:.6g} by {scenario.formula} at {place}"
                        )


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _measure(
    composed: Composed,
    environment: dict[str, Any],
    module: ModuleType,
    kind: str,
    alpha: float | None,
    rank: int,
    strength: float,
    flags: Mapping[str, Any],
) -> float:
    """The factor between what the program adds and the bare delta."""
    layout = composed.layout
    torch.manual_seed(0)
    names = {"torch": torch, "I": INPUTS, "O": OUTPUTS, "rank": rank}
    factors = eval(layout.tensors, names)
    environment["other"] = eval(layout.tensors, {**names, "rank": rank + 2})
    delta = eval(layout.delta, {"torch": torch, "t": factors})
    weight = torch.randn(delta.shape)
    x = torch.randn(5, INPUTS, 3, 3) if layout.bases == "conv" else torch.randn(5, INPUTS)
    copies = {role: tensor.clone() for role, tensor in factors.items()}
    effect = environment["run"](module, kind, copies, weight.clone(), x, alpha, rank, strength, flags)
    if kind == "forward":
        delta = environment["base_output"](x, delta)
    factor = float((effect * delta).sum() / (delta * delta).sum())
    rest = float((effect - factor * delta).abs().max())
    if rest > 1e-9 * max(1.0, float(effect.abs().max())):
        raise SelfCheck(f"{kind}: adds something else than a multiple of the delta (off by {rest:.3g})")
    return factor
