"""A stand-in for bitsandbytes that computes: its layers, with plain weights.

Code for quantised layers exists only where the package does; the scale of its delta is the same on a base
that is not quantised.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

NAME = "bitsandbytes"
LAYERS = ("Linear4bit", "Linear8bitLt")
_MOST_FILES = 2_000


def stand_in(root: Path) -> bool:
    """Put it in place where the project speaks of the package and it cannot be had; says whether it did."""
    torch = sys.modules.get("torch")
    if torch is None or NAME in sys.modules or importlib.util.find_spec(NAME) is not None:
        return False
    if not _is_named_below(root):
        return False
    package = _module(NAME)
    package.nn = _layers(torch)
    package.functional = _module(f"{NAME}.functional")
    package.functional.dequantize_4bit = lambda weight, *_rest, **_named: weight
    package.functional.int8_vectorwise_dequant = lambda weight, *_rest: weight
    package.optim = _module(f"{NAME}.optim")
    return True


@functools.cache
def _is_named_below(root: Path) -> bool:
    files = sorted(root.rglob("*.py"))[:_MOST_FILES]
    return any(NAME.encode() in _source(path) for path in files)


def _source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _module(name: str) -> Any:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    module.__version__ = "0.45.0"  # type: ignore[attr-defined]
    sys.modules[name] = module
    return module


def _layers(torch: Any) -> Any:
    class Parameter(torch.nn.Parameter):  # type: ignore[misc]
        """Quantised in the original; what says how is nothing that plain numbers need."""

        SCB = quant_state = bnb_quantized = None
        has_fp16_weights = False
        compress_statistics, quant_type, blocksize, quant_storage = True, "fp4", 64, torch.uint8

        def __new__(cls, data: Any = None, requires_grad: bool = False, **_named: Any) -> Any:
            return super().__new__(cls, data, requires_grad)

    class Int8Params(Parameter):
        """8 bits in the original."""

    class Params4bit(Parameter):
        """4 bits in the original."""

    class _Linear(torch.nn.Linear):  # type: ignore[misc]
        packed: type = Parameter

        def __init__(
            self, input_features: int, output_features: int, bias: bool = True, *_rest: Any, **_named: Any
        ) -> None:
            super().__init__(input_features, output_features, bias)
            self.compute_dtype = torch.float32
            self.compute_type_is_set = True
            self.weight: Any = self.packed(self.weight.data)
            self.state = SimpleNamespace(
                CB=None, SCB=torch.ones(1), threshold=0.0, has_fp16_weights=False, reset_grads=lambda: None
            )

    class Linear8bitLt(_Linear):
        """8 bits in the original."""

        packed = Int8Params

    class Linear4bit(_Linear):
        """4 bits in the original."""

        packed = Params4bit

    layers = _module(f"{NAME}.nn")
    for cls in (Linear8bitLt, Linear4bit, Int8Params, Params4bit):
        cls.__module__, cls.__qualname__ = layers.__name__, cls.__name__
        setattr(layers, cls.__name__, cls)
    layers.modules = layers
    sys.modules[f"{NAME}.nn.modules"] = layers
    return layers
