"""What says that something is left out on purpose, and what only tells a person."""

from __future__ import annotations

import re

LOGS = frozenset("print log info debug warning warn error exception format".split())
"""Calls that only tell a person, by the last part of their name."""

_ON_PURPOSE = re.compile(
    r"(?i)unused|not used|ignore|deprecat|compat|placeholder|reserved|no[- ]op|noqa"
    r"|(not|un)[- _]?(yet )?support"
)


def sets(name: str) -> bool:
    """Does a method's name say that it replaces what was set before?"""
    return name.lstrip("_").startswith("set_")


EACH_STEP = frozenset(
    "on_step_begin on_step_end on_substep_end on_epoch_begin on_epoch_end on_train_batch_start "
    "on_train_batch_end on_batch_begin on_batch_end callback_on_step_end".split()
)
"""Hooks that are called again and again: of transformers' trainer, lightning, keras, diffusers' pipelines."""


def on_purpose(text: str) -> bool:
    """Does a comment or docstring say that what stands beside it is left out on purpose?"""
    return _ON_PURPOSE.search(text) is not None


SAVES = frozenset({"save", "state", "export", "checkpoint"})
"""Words of a function's name by which it makes what is written to a file."""

APPLIES = frozenset({"load", "merge", "fuse", "apply", "add", "into"})
"""Words by which a call with LoRA in its name puts an adapter into a model."""

OF_ADAPTERS = frozenset({"peft", "lora", "adapter"})
"""Words by which a class says that its fields are those of an adapter."""
