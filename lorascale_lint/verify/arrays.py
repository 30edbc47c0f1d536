"""Arrays that go to code under examination and come back: NumPy's, or torch's where that is at work.

torch is never imported here: code that has not imported it wants no tensors.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters import floats

# What safetensors calls the types that hold whole bytes of a float32.
_CODES = {"float32": "F32", "bfloat16": "BF16"}
DTYPES = ("float32", "float16", "bfloat16")

# Seconds that the driver's own program may take to say its version.
_ASKING = 20.0

_DEVICE = ["cpu"]
_COMPILE = [False]


def use_device(device: str) -> None:
    """Where arrays are put from now on; a process works on one device only."""
    _DEVICE[0] = device


def device_of_rank(first: str, rank: int) -> str:
    """The device of one of several processes; `first` is that of rank 0."""
    kind, _, number = first.partition(":")
    return f"{kind}:{int(number) + rank}" if number else kind


def device_in_use() -> str:
    """Where arrays are put: "cpu", "cuda:N", or "standin:0"."""
    return _DEVICE[0]


def is_card() -> bool:
    """Is that a graphics card?"""
    return device_in_use().startswith("cuda")


def use_compiler() -> str:
    """Have `compiled` compile from now on; says why that can't be, or "".

    A first, trivial function takes 18 s, most of it for loading the compiler, and shows what is missing.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return "the code that was imported uses no torch"
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device_in_use()))
    except Exception as error:  # Whatever the compiler raises means that it can't be used.
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0][:300]}"
    _COMPILE[0] = True
    return ""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under `torch.compile`, if that was asked for."""
    if not _COMPILE[0]:
        return function
    torch = sys.modules["torch"]
    # It gives up, and says nothing, once it has compiled the same lines for eight layers.
    torch.compiler.reset()
    made: Callable[..., Any] = torch.compile(function)
    return made


def rounded(values: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """The nearest numbers that the type has, so that code and reference start from the same ones."""
    if dtype == "float16":
        # At once: by way of float32 a number could be rounded twice.
        return values.astype(np.float16).astype(np.float64)
    return floats.rounded(values.astype(np.float32), _CODES[dtype]).astype(np.float64)


class NoSuchDtypeError(Exception):
    """A floating-point type that the framework at work lacks."""


def as_offered(
    values: NDArray[np.floating],
    dtype: str = "float32",
    *,
    device: str | None = None,
    tensors: bool | None = None,
) -> Any:
    """A fresh array for the code: a torch tensor or a NumPy array.

    `tensors` None: tensors if torch is imported already. Raises NoSuchDtypeError for bfloat16 without torch.
    """
    torch = sys.modules.get("torch")
    if torch is not None and tensors is not False:
        made = torch.from_numpy(np.array(values, dtype=np.float32)).to(getattr(torch, dtype))
        return made.to(device or device_in_use())
    if dtype == "bfloat16":
        raise NoSuchDtypeError("NumPy has no bfloat16; import torch to be given tensors")
    return np.array(values, dtype=dtype)


def as_float64(answer: Any) -> NDArray[np.float64]:
    """What the code gave back, as a float64 copy. Raises TypeError if that is no array."""
    if hasattr(answer, "detach"):
        tensor = answer.detach()
        answer = (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu()
        answer = answer.to(sys.modules["torch"].float64).numpy()
    array = np.array(answer)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"the code gave back {type(answer).__name__}, no array of numbers")
    return array.astype(np.float64)


def poison_torch() -> tuple[str, ...]:
    """Have torch fill memory that the code never wrote with NaN; says what was done, for the report.

    A result that was left over from an earlier call would otherwise pass for a computed one.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return ()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    warnings.filterwarnings("ignore", message=".*deterministic.*")
    if is_card():
        # TF32 keeps 10 bits of a product: what it rounds away would be taken for a wrong scale.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        return ("uninitialised tensors are filled with NaN", "TF32 is off")
    return ("uninitialised tensors are filled with NaN",)


def framework() -> str:
    """What computes, for the report: the framework, and the device where that is not the CPU."""
    torch = sys.modules.get("torch")
    if torch is None:
        return f"NumPy {np.__version__}"
    place = ""
    if is_card():
        name = torch.cuda.get_device_name(device_in_use())
        place = f" (CUDA {torch.version.cuda}, driver {_driver_version()}) on {device_in_use()}, {name}"
    elif device_in_use() != "cpu":
        place = f" on {device_in_use()}, a stand-in that computes on the CPU"
    return f"torch {torch.__version__}{place}"


def _driver_version() -> str:
    """That of the NVIDIA driver, of which torch does not know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASKING, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.split() or ["unknown"])[0]


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has a parameter of that name."""
    return name in _parameters(function)


def has_default(function: Callable[..., Any], name: str) -> bool:
    """Whether the function can be called without the parameter of that name."""
    parameter = _parameters(function).get(name)
    return parameter is None or parameter.default is not inspect.Parameter.empty


def call_by_name(function: Callable[..., Any], offered: dict[str, Any]) -> Any:
    """Call the function with those of the offered values that it has parameters for.

    A None is left out where the parameter has a default. Raises TypeError, naming what is offered, if a
    parameter without a default is none of them.
    """
    parameters = _parameters(function)
    unknown = [
        name
        for name, parameter in parameters.items()
        if name not in offered
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if unknown:
        raise TypeError(
            f"{getattr(function, '__name__', 'the function')} wants {', '.join(unknown)}; "
            f"its parameters can be {', '.join(offered)}"
        )
    given = {
        name: value
        for name, value in offered.items()
        if name in parameters and not (value is None and has_default(function, name))
    }
    return function(**given)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)
