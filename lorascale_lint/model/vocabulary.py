"""Which names mean what in LoRA code, and how sure that is.

A strong name carries its meaning alone; a weak one needs LoRA words around it, because ``alpha``
is also a blend factor, ``rank`` a process number and ``down`` a direction. The lists follow the
identifier counts over 23 LoRA repositories that the project started from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lorascale_lint.model.scale import ALPHA, RANK, SCALING, STRENGTH

_STRONG = {
    ALPHA: re.compile(
        r"(?i)_?(lora_alphas?|network_alphas?|lora_network_alpha|lora_linear_alpha|conv_alpha)"
    ),
    RANK: re.compile(r"_?(lora_rank|lora_r|lora_dim|network_dim|lora_network_dim|ranknum|max_lora_rank)"),
    SCALING: re.compile(r"_?(lora_scaling|alpha_scale|lora_alpha_scale|lora_scaling_factor)"),
    STRENGTH: re.compile(r"_?(lora_strength|lora_multiplier|strength_model|strength_clip)"),
}
_WEAK = {
    ALPHA: re.compile(r"_?(alphas?|alpha_value)"),
    RANK: re.compile(r"_?(rank|r|dim)"),
    SCALING: re.compile(r"_?(scalings?|scaling_factors?)"),
    STRENGTH: re.compile(r"_?(strength|multiplier)"),
}
_FACTOR_ENDING = (
    r"(?:_(?:weights?|sliced|params?|stacked|list|cache|buffer|tensors?|mat|matrix|layer|proj|kernel|"
    r"q|k|v|o|qkv|query|key|value|\d+))"
)
_STRONG_FACTOR = {
    "A": re.compile(
        rf"(?:.*_)?lora_?(?:kernel_|embeddings?_)?(A|a|down){_FACTOR_ENDING}?|hada_w[12]_b|lokr_w[12]_b"
    ),
    "B": re.compile(
        rf"(?:.*_)?lora_?(?:kernel_|embeddings?_)?(B|b|up){_FACTOR_ENDING}?|hada_w[12]_a|lokr_w[12]_a"
    ),
}
_WEAK_FACTOR = {
    "A": re.compile(r"(A|a|down|lora_down_proj|down_weight|weight_down|linear_in)"),
    "B": re.compile(r"(B|b|up|lora_up_proj|up_weight|weight_up|linear_out)"),
}
_BASE = re.compile(r"weight|base_layer|org_module|org_weight|orig_weight|base_weight|kernel")

_KEY_SIDE = {
    "A": re.compile(r"lora_?(A|a|down|embedding_A)(?![a-z])|(?<![a-z])lora\.down|hada_w1_a|lokr_w1_a"),
    "B": re.compile(r"lora_?(B|b|up|embedding_B)(?![a-z])|(?<![a-z])lora\.up|hada_w1_b|lokr_w1_b"),
}
_KEY_ALPHA = re.compile(r"(?:^|[._*])(lora_)?(network_)?alphas?(_scale)?(?![a-z]|_[a-z])")

_LORA = re.compile(r"(?i)lora(?!_?(wan|modem|radio|gateway|packet|mesh|node|device|phy))|lokr")
"""LoRa is also a radio, and its code sends and receives."""

ALPHA_KEYS = (".alpha", ".lora_alpha", ".alpha_scale")
"""Spellings under which adapter files carry alpha (``.alpha_scale`` is alpha / rank already)."""


def number_role(name: str, lora_context: bool) -> str | None:
    """Role of a scalar called ``name``: a symbol of the scale algebra, or None."""
    for role, pattern in _STRONG.items():
        if pattern.fullmatch(name):
            return role
    if lora_context:
        for role, pattern in _WEAK.items():
            if pattern.fullmatch(name):
                return role
    return None


def factor_side(name: str, lora_context: bool) -> str | None:
    """``A`` (down) or ``B`` (up) for a tensor or module called ``name``, else None."""
    for side, pattern in _STRONG_FACTOR.items():
        if pattern.fullmatch(name):
            return side
    if lora_context:
        for side, pattern in _WEAK_FACTOR.items():
            if pattern.fullmatch(name):
                return side
    return None


def is_base_name(name: str) -> bool:
    """Is ``name`` one under which code keeps a base weight or base layer?"""
    return _BASE.fullmatch(name) is not None


def key_side(text: str) -> str | None:
    """``A`` or ``B`` for a key or key part of an adapter dictionary such as ``.lora_A.weight``."""
    sides = [side for side, pattern in _KEY_SIDE.items() if pattern.search(text)]
    return sides[0] if len(sides) == 1 else None


def is_alpha_key(text: str) -> bool:
    """Does a key or key part such as ``.alpha`` or ``.lora_alpha`` name an alpha?"""
    return len(text) <= 60 and " " not in text and _KEY_ALPHA.search(text) is not None


def key_role(text: str) -> str | None:
    """``A``, ``B``, ``alpha``, or None for a key that is none of an adapter's."""
    return key_side(text) or ("alpha" if is_alpha_key(text) else None)


def has_lora_word(words: Iterable[str]) -> bool:
    """Is there a word of LoRA code among ``words`` (the bare word ``lora`` is enough for context)?"""
    return any(_LORA.search(word) is not None for word in words)
