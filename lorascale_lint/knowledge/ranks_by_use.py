"""What code calls the rank that has no word for it: it divides an alpha and lies between two matrices."""

from __future__ import annotations

import re
from functools import lru_cache

PRODUCTS = re.compile(r"@(?:[\s=]|(?<=[\w)\]]@))|matmul|\bmm\(|einsum|linear\(|conv2d\(|dense\(")
DIVISORS = re.compile(r"alpha\w*[\"'\])]*(?:\.\w+\(\))?\s*//?\s*(?:math\.sqrt\()?((?:\w+\.)*[a-z_]\w*)")
_EXTENT = re.compile(r"(?:\[[^\]\n]*\])*\.(?:shape\[|size\()")
_DATA = frozenset("x y n m batch_size bs data inputs input labels logits target targets batch".split())
"""What an alpha that is no LoRA's is divided by: a step of gradient descent by the number of rows."""


_MAKES = r"(?:zeros|ones|empty|randn?|normal|uniform|full|linear|dense|embedding)"
"""Calls that are given extents one by one: of torch, keras and mlx; a tuple of two may stand anywhere."""
_TUPLE = r"[(,=]\s*"


@lru_cache(maxsize=500)
def ranks_by_use(source: str) -> frozenset[str]:
    """What a file calls the rank, by use: it divides an alpha and lies between two matrices."""
    lowered = source.lower()
    if "alpha" not in lowered or PRODUCTS.search(lowered) is None:
        return frozenset()
    numbers = (found for found in DIVISORS.finditer(lowered) if not _is_part(found, lowered))
    names = {found[1].rpartition(".")[2] for found in numbers}
    return frozenset(name for name in names if name not in _DATA and _lies_between(name, lowered))


def is_rank(divisor: re.Match[str], lowered: str) -> bool:
    """Is it an extent of something, or what two matrices have in common?"""
    name = divisor[1]
    extent = _EXTENT.match(lowered, divisor.end()) is not None
    if lowered.startswith(("(", "["), divisor.end()) and name.endswith((".shape", ".size")):
        name, extent = name.rpartition(".")[0], True
    last = name.rpartition(".")[2]
    if last in _DATA:
        return False
    return extent or (not _is_part(divisor, lowered) and _lies_between(last, lowered))


def _is_part(divisor: re.Match[str], lowered: str) -> bool:
    """Is it a call, or a part of what is named?"""
    return lowered.startswith(("(", "[", "."), divisor.end())


def _lies_between(name: str, lowered: str) -> bool:
    """Are things made of the extents ``(k, n_in)`` and ``(n_out, k)``?"""
    own = rf"(?:\w+\.)*{name}\s*"
    first = rf"{_MAKES}\(\s*{own},|{_TUPLE}\(\s*{own},[^(),]+\)"
    last = rf"{_MAKES}\([^(),]+,\s*{own}[,)]|{_TUPLE}\([^(),]+,\s*{own}\)"
    return re.search(first, lowered) is not None and re.search(last, lowered) is not None
