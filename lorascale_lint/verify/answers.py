"""What a target answers where it should have given numbers, and how that is told."""

from __future__ import annotations

import sys
import traceback

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.protocol import Driver

Array = NDArray[np.float64]


class TargetMisbehavedError(Exception):
    """The target answered, but with something that is no answer."""


class FileRefusedError(Exception):
    """The loader raised an exception where it was asked to read one kind of file."""


def passed_through(driver: Driver, error: BaseException) -> bool:
    """True if the error came out of a call of the driver's: then it is no mistake of this module's own."""
    # Its layers may lie in a file beside it, whose name begins alike.
    code = (sys.modules[type(driver).__module__].__file__ or "").removesuffix(".py")
    return bool(code) and any(
        frame.f_code.co_filename.startswith(code) for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def checked(values: NDArray[np.floating], shape: tuple[int, ...]) -> Array:
    """What the target returned, as float64. Raises TargetMisbehavedError if its shape is another."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise TargetMisbehavedError(f"the target returned shape {array.shape} where {shape} was expected")
    return array


def one_line(error: BaseException) -> str:
    """An exception for a report."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def joined(*parts: str) -> str:
    """The remarks that there are, as one."""
    return "; ".join(part for part in parts if part)
