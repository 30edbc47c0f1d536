"""Whether a text is about LoRA: by its words, and by what it divides and multiplies where it has none."""

from __future__ import annotations

import re
from functools import lru_cache

from lorascale_lint.knowledge.ranks_by_use import DIVISORS, PRODUCTS, is_rank
from lorascale_lint.knowledge.roles import names_added_factor

_LORA_WORDS = ("lokr", "loha", "hada_", "lycoris", "peft")
_LORA = (
    re.compile(
        r"lora(?<!flora)(?!tion|tory|tive|do\b|_?(wan|modem|radio|gateway|packet|mesh|node|device|phy)"
        r"|(?<=kv_lora)_rank|(?<=\b[qo]_lora)_rank)"
    ),
    re.compile(r"dora(?<![a-z]dora)\b"),
)
_BY_RANK = re.compile(
    r"alpha\w*(?:\[[^\]\n]{1,40}\])?[\"'\])]*\s*//?\s*(?:math\.sqrt\()?(?:\w+\.)*(?:\w+_)?rank\b"
)
_DIVIDED = re.compile(
    r"alpha\w*(?:\[[^\]\n]{1,40}\])?[\"'\])]*\s*//?\s*(?:(?:\w+\.)*(?:r|dim)\b|[\w.\[\]\"']*(?:down|_a|\ba|v)\b[\w.\[\]\"']*\.shape\[)"
)
_OVER = re.compile(r"alpha\w*[\"'\])]*\s*//?\s*[a-z_(]")
_DOWN, _UP = re.compile(r"(?:\b|_)down\b"), re.compile(r"(?:\b|_)up\b")
_SIDE_A, _SIDE_B = re.compile(r"\b(\w+)_a\b"), re.compile(r"\b(\w+)_b\b")
"""Exploration, Colorado and Fedora are none. LoRa is also a radio, and its code sends and receives;
`kv_lora_rank` and `q_lora_rank` are extents of the attention of DeepSeek-V2 and models after it
(https://arxiv.org/abs/2405.04434, 2.1). Who divides an alpha by a rank speaks of LoRA.

So does, where there are products of matrices, who divides it by a shorter name or beside both factors.

Each pattern begins with plain letters, which lets the search leap: text of a large project is searched often.
"""
_SCALE_WORDS = (
    "lora_ _lora lokr loha hada_ dora_ alpha scaling multiplier strength delta_weight @ matmul einsum "
    "linear( weight.data .copy_("
).split()
_SCALES = re.compile(r"mm\b|\bscale\b|\.up\b|\.down\b|\brank\b")
_LETTERS = re.compile(r"lora_?[AB](?![a-z])|lora_[ab](?![a-z])")
_KOHYA = re.compile(r"lora_(?:down|up|unet|te\d?)(?![a-z])")
_MOVES = (
    "state_dict named_parameters safetensors load_file save_file safe_open torch.save torch.load np.save "
    "np.load numpy.save numpy.load savez load_weights save_weights"
).split()
_ALPHA_KEY = re.compile(r"\.alpha[\"']")


def speaks_of_kohya(text: str) -> bool:
    """Is there a key of kohya's adapters in ``text``, where alpha None or 0 means the rank?"""
    return _KOHYA.search(text) is not None


def speaks_of_letters(text: str) -> bool:
    """Are factors called by PEFT's letters in ``text``, where alpha 0 is no other alpha?"""
    return _LETTERS.search(text) is not None


def speaks_of_scales(text: str) -> bool:
    """Is there a word of factors, of their scale, or a product in ``text``?"""
    lowered = text.lower()
    return any(word in lowered for word in _SCALE_WORDS) or _SCALES.search(lowered) is not None


def moves_tensors(text: str) -> bool:
    """Does the code save the tensors of a model, or load some?"""
    return any(word in text for word in _MOVES)


def speaks_of_lora(text: str) -> bool:
    """Is there a word of LoRA code in ``text``?"""
    lowered = text.lower()
    if any(word in lowered for word in _LORA_WORDS) or any(p.search(lowered) for p in _LORA):
        return True
    return _divides(lowered) or _opens_alphas(lowered) or names_added_factor(text)


@lru_cache(maxsize=500)
def divides_alpha(source: str) -> bool:
    """Is an alpha divided by a rank somewhere in a file, so that its layers need no word of LoRA?"""
    return _divides(source.lower())


def _opens_alphas(lowered: str) -> bool:
    """Is a file of tensors opened, or written, that has entries ``<module>.alpha``?"""
    return moves_tensors(lowered) and names_alpha_keys(lowered)


def names_alpha_keys(text: str) -> bool:
    """Is there the end of a key of an alpha in ``text``: ``".alpha"``?"""
    return "alpha" in text and _ALPHA_KEY.search(text) is not None


def _divides(lowered: str) -> bool:
    if "alpha" not in lowered or "/" not in lowered:
        return False
    if _BY_RANK.search(lowered) is not None:
        return True
    if PRODUCTS.search(lowered) is None:
        return False
    if _DIVIDED.search(lowered) is not None or any(
        is_rank(found, lowered) for found in DIVISORS.finditer(lowered)
    ):
        return True
    return _OVER.search(lowered) is not None and _names_both(lowered)


def _names_both(lowered: str) -> bool:
    if _DOWN.search(lowered) is not None and _UP.search(lowered) is not None:
        return True
    return not {*_SIDE_A.findall(lowered)}.isdisjoint(_SIDE_B.findall(lowered))
