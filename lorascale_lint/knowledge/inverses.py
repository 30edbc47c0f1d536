"""How a function is called that takes back what another one did: ``unmerge_lora`` of ``merge_lora``.

Source: PEFT, diffusers (``unfuse_lora``), adapters, ComfyUI (``unpatch_model``), mlx-lm.
"""

from __future__ import annotations

import re

from lorascale_lint.immutable import immutable


@immutable(frozen=True, slots=True)
class Rescaling:
    """A function of a library that multiplies a scaling that is kept, and the one that divides it again.

    ``position`` and ``keyword`` are those of the number in both; ``needs_number`` if the inverse does nothing
    without it.
    """

    call: str
    inverse: str
    position: int
    keyword: str
    needs_number: bool


RESCALINGS = (
    # peft tuners/lora/layer.py: unscale_layer(None) puts alpha / r back
    Rescaling("scale_layer", "unscale_layer", 0, "scale", needs_number=False),
    # diffusers utils/peft_utils.py: unscale_lora_layers(model, None) returns at once
    Rescaling("scale_lora_layers", "unscale_lora_layers", 1, "weight", needs_number=True),
)

PUTS_IN = ("merge", "fuse", "fold", "apply", "patch", "load", "add")
"""What puts a delta into a weight, as the first word of a name."""

TAKES_BACK = ("un", "de")
"""What stands in front of that word in the name of the inverse."""

INTO_WEIGHTS = ("merge", "fuse")
"""Of those, the words that mean the weight and nothing else."""


def taken_back(name: str) -> str | None:
    """``merge_lora`` of ``unmerge_lora`` or ``_un_merge_lora``; None where the name promises no inverse."""
    bare = name.lower().lstrip("_")
    for prefix in TAKES_BACK:
        rest = bare.removeprefix(prefix).lstrip("_")
        if rest != bare and rest.startswith(PUTS_IN):
            return rest
    return None


def stem(name: str) -> str | None:
    """The same name for a function and its inverse; None for a name of neither."""
    bare = name.lower().lstrip("_")
    return taken_back(name) or (bare if bare.startswith(PUTS_IN) else None)


def unmerges(name: str) -> bool:
    """Does the name, or a word of it, promise to take a delta out of a weight?"""
    bare = name.lower().replace("un_", "un")
    return any(f"un{word}" in bare for word in INTO_WEIGHTS)


_PUTS_BACK = re.compile(r"un_?(?:merge|fuse|patch|load|apply)|restore|reset|revert|remove|back_?up|undo")


def may_put_back(name: str) -> bool:
    """May what is called so put a weight back? More than `unmerges`: it is asked to be on the safe side."""
    return _PUTS_BACK.search(name.lower()) is not None
