"""Texts by which origins and conditions tell what they are."""

from __future__ import annotations

import re

PART = "a part of a decomposition"
"""Origin of singular vectors, singular values and the like, and of products of them."""
NOTHING = "a product of nothing known"
OF_ONE_FACTOR = "a product of one factor with itself"
OF_FACTORS = "a product of factors, element by element"
OF_DELTA = "a product of a delta"
OF_NUMBERS = "a tensor of numbers"
OF_WIDE = "a layer that is wider inside"
KNOWN_DATA = frozenset({PART, OF_ONE_FACTOR, OF_FACTORS, OF_DELTA, OF_WIDE})
"""Origins of tensors that are known to be no factor and no delta."""
LOOP = "loop in row "
"""How the condition begins that a loop of unknown length, whose place follows, is running or has run."""
ROUND = "round of the loop in row "
"""How the condition begins that one item of several that are known is at hand."""
WALKED = "<module>"
"""Ends the path of any module in a walk over all modules of a model."""
ENTRY = "entry "
"""How what stands under a key, which follows, in a dictionary is called that shows nothing under it."""
AFTER = "after "
"""How guards call it that a method has left an object as it is: ``after set_lora()``."""
FILLED = " was filled"
"""How the condition ends that a field of a record holds no longer what it started with."""
MANY = "too many ways to this place"
"""What a value is called that has more alternatives than are kept."""


LORA_LAYER = "given by a layer of LoRA"
"""What kind of thing the output of an object is whose class is out of sight and called after LoRA."""

_IS_NONE = " is None"
_OF_PARTS = re.compile(r"\b(?:or|and|not|if|lambda)\b")
_OF_A_FRAME = re.compile(r"@\d+$")
"""Ends what is asked as a whole, but not the first part of ``self.a is None or self.b is None``."""


def none_question(name: str) -> str:
    """The condition that holds where what is called so is None."""
    return f"{name}{_IS_NONE}"


def speaks_of_none(condition: str) -> bool:
    """Is it, or a part of it, asked whether something is None?"""
    return _IS_NONE in condition


def asked_for_none(condition: str) -> str:
    """``alpha@3`` of ``alpha@3 is None``; empty for a condition that asks something else, or more."""
    asked = condition.removesuffix(_IS_NONE)
    other = asked == condition or (_OF_PARTS.search(asked) and not _OF_A_FRAME.search(asked))
    return "" if other else asked


REST = "**"
"""The name of arguments that are out of sight, behind one star or two: any parameter may be among them."""
