"""How a module's delta is made."""

from __future__ import annotations

import re
from enum import StrEnum

from lorascale_lint.knowledge.interfaces import ADAPTER_FIELDS, ALPHAS_FIELD, FLAG_FIELD, RANKS_FIELD


class Kind(StrEnum):
    """The families of adapters that files hold."""

    LORA = "LoRA"
    CONV = "LoRA of a convolution"
    ADALORA = "AdaLoRA"
    LOHA = "LoHa"
    LOKR = "LoKr"
    FULL_LOKR = "LoKr of two full matrices"
    GLORA = "GLoRA"
    OFT = "OFT"
    VERA = "VeRA"
    IA3 = "IA3"
    FULL = "full difference"


# Their delta is the trained one as it is: there is no alpha, or it means something else (a norm for OFT).
UNSCALED = frozenset({Kind.OFT, Kind.VERA, Kind.IA3, Kind.FULL})

LINEAR = frozenset({Kind.LORA})
LOW_RANK = LINEAR | {Kind.CONV}
KRONECKER = frozenset({Kind.LOHA, Kind.LOKR, Kind.FULL_LOKR})

_MAKES = re.compile(r"_{0,2}(init|post_init|build|setup|create|load).*")


def makes_objects(name: str) -> bool:
    """Does a method called ``name`` belong to making an object, so that what it was told stays so?"""
    return _MAKES.fullmatch(name) is not None


_DORA = re.compile(r"(?i)dora|magnitude|weight_?decompos|decompose_weight|\bwd(_on)?\b")


def speaks_of_dora(text: str) -> bool:
    """Is there a word of DoRA or of its magnitude in ``text``?"""
    return _DORA.search(text) is not None


_KRONECKER = re.compile(r"(?i)w_?([12])(_?[ab])?(?![a-z0-9])")
_FORM = re.compile(r"(?i)w_?[12]|full|decompose|both|is_low_rank|has_rank")


def kronecker_part(name: str) -> tuple[str, bool] | None:
    """Which Kronecker factor is meant, 1 or 2, and whether a factor of that: ``lokr_w1``, ``lokr_w2_a``."""
    found = [(match[1], match[2] is not None) for match in _KRONECKER.finditer(name)]
    return found[-1] if found else None


def speaks_of_form(text: str) -> bool:
    """Does a condition ask whether a Kronecker factor is a full matrix?"""
    return _FORM.search(text) is not None


_RSLORA = re.compile(r"(?i)rs_?lora|rank_?stabili[sz]ed")


def speaks_of_rslora(text: str) -> bool:
    """Is rsLoRA, the root of the rank as divisor, named in ``text``?"""
    return _RSLORA.search(text) is not None


_PATTERNS = re.compile(r"(?i)(rank|alpha|r)s?_?patterns?(?![a-z])")


def meant_field(name: str) -> str | None:
    """The field of peft's configuration that is meant by one of another name; None for what means none."""
    if name in ADAPTER_FIELDS:
        return None
    if _RSLORA.fullmatch(name.removeprefix("use_").removeprefix("is_")) is not None:
        return FLAG_FIELD
    if _PATTERNS.fullmatch(name) is not None:
        return ALPHAS_FIELD if "alpha" in name.lower() else RANKS_FIELD
    return None


def names_alphas(name: str) -> bool:
    """Is it the part that has alphas of its own for some modules?"""
    return name == ALPHAS_FIELD


def speaks_of_patterns(text: str) -> bool:
    """Are the tables named that give single modules a rank or an alpha of their own?"""
    return _PATTERNS.search(text) is not None


_RESTORES = re.compile(r"(?i)(^|_)(de|un)_?quanti[sz]e(_|$)|(^|_)dequant(_|$)")


def restores(name: str) -> bool:
    """Does a function give what a quantised tensor stands for? What it multiplies by is no scale of LoRA."""
    return _RESTORES.search(name) is not None
