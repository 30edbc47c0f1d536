"""Where a run computes. The parent asks a process of its own, because it imports no torch itself."""

from __future__ import annotations

import os
import sys

from lorascale_lint.verify.isolation.room import RoomError, output_of
from lorascale_lint.verify.registry import DriverEntry
from lorascale_lint.verify.report import Problem

# Seconds; a cold import of torch took 9.
_PROBE_TIMEOUT = 120.0
_PROBE = "import torch; print('devices', torch.cuda.device_count() if torch.cuda.is_available() else 0)"


def cuda_devices() -> int:
    """How many CUDA devices torch can use here; 0 without torch."""
    try:
        said = output_of([sys.executable, "-P", "-c", _PROBE], os.environ, _PROBE_TIMEOUT, cards=True)
    except RoomError:
        return 0
    word, _, number = (said or "").strip().rpartition("\n")[2].partition(" ")
    return int(number) if word == "devices" and number.isdecimal() else 0


def choose_device(wanted: str, entry: DriverEntry, ranks: int = 1) -> str | Problem:
    """The device for "auto", "cpu", "cuda", "cuda:N" or "standin", or why there is none.

    That is "could not be judged". Several ranks take a device each, the one named and those after it.
    """
    if wanted == "cpu":
        return "cpu"
    if "cuda" not in entry.devices:
        return "cpu" if wanted == "auto" else Problem(3, f"The driver {entry.name} runs on the CPU only.")
    if wanted == "standin":
        return "standin:0"
    count = cuda_devices()
    if wanted == "auto":
        return "cuda:0" if count >= ranks else "cpu"
    number = int(wanted.partition(":")[2] or 0)
    if count == 0:
        return Problem(3, "There is no CUDA device that torch can use here, so nothing was run.")
    if number >= count:
        return Problem(3, f"There is no CUDA device {number}: torch can use {count} here, counted from 0.")
    if number + ranks > count:
        return Problem(3, f"{ranks} processes want a CUDA device each: torch can use {count} here.")
    return f"cuda:{number}"
