"""Devices that code names and this machine lacks: what is sent there stays on the CPU.

A layer that says `.to("mps")` or `device="cuda"` has the same scale on any device.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any


def at_hand() -> contextlib.AbstractContextManager[Any]:
    """Meanwhile torch functions that name a device that is not there get the CPU instead."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "overrides"):
        return contextlib.nullcontext()
    return _mode(torch)


def _mode(torch: Any) -> contextlib.AbstractContextManager[Any]:
    missing = frozenset(
        name
        for name, there in (
            ("cuda", torch.cuda.is_available),
            ("mps", torch.backends.mps.is_available),
            ("xpu", torch.xpu.is_available),
        )
        if not there()
    )

    def here(value: Any) -> Any:
        if isinstance(value, str) and value.partition(":")[0] in missing:
            return "cpu"
        if isinstance(value, torch.device) and value.type in missing:
            return torch.device("cpu")
        return value

    class AtHand(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Callable[..., Any], _types: Any, arguments: Any = (), named: Any = None
        ) -> Any:
            named = dict(named or {})
            name = getattr(function, "__name__", "")
            if name in missing and arguments:
                return arguments[0]
            if "device" in named:
                named["device"] = here(named["device"])
            if name == "to":
                arguments = tuple(map(here, arguments))
            return function(*arguments, **named)

    made: contextlib.AbstractContextManager[Any] = AtHand()
    return made
