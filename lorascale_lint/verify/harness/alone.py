"""Groups of processes that a project would have started: here each of them has one.

A layer that is shared out among one process is whole, and has the same scale.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


class GroupOfOne:
    """What a group of processes is asked for, where there is one process: nothing is to be exchanged."""

    world_size = size = 1
    rank = rank_in_group = local_rank = first_rank = last_rank = 0
    ranks = (0,)
    is_first_rank = is_last_rank = True

    def all_reduce(self, tensor: Any, *_arguments: Any, **_named: Any) -> Any:
        """The sum over one."""
        return tensor

    all_gather = gather = broadcast = reduce_scatter = all_reduce

    def barrier(self) -> None:
        """Nobody to wait for."""


def start_groups(root: Path) -> None:
    """Put a group of one into each place below `root` from which a group is had, and where none is."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and _lies_below(file, root):
            for name in _places(module):
                setattr(module, name, GroupOfOne())


@cache
def _lies_below(file: str, root: Path) -> bool:
    # Asked of every module each time that a file is imported.
    return Path(file).resolve().is_relative_to(root)


def _places(module: ModuleType) -> Iterator[str]:
    """The variables of a module that hold nothing and are what `get_tp_group()` and the like give."""
    for name, found in list(vars(module).items()):
        if (
            isinstance(found, FunctionType)
            and found.__module__ == module.__name__
            and name.startswith("get_")
            and name.endswith("_group")
            and not inspect.signature(found).parameters
        ):
            yield from (used for used in found.__code__.co_names if vars(module).get(used, ...) is None)
