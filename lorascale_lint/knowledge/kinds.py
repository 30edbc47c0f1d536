"""How a module's delta is made."""

from __future__ import annotations

import re
from enum import StrEnum


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

_DORA = re.compile(r"(?i)dora|magnitude|weight_?decompos|decompose_weight|\bwd(_on)?\b")


def speaks_of_dora(text: str) -> bool:
    """Is there a word of DoRA or of its magnitude in ``text``?"""
    return _DORA.search(text) is not None


_RSLORA = re.compile(r"(?i)rs_?lora|rank_?stabili[sz]ed")


def speaks_of_rslora(text: str) -> bool:
    """Is rsLoRA, the root of the rank as divisor, named in ``text``?"""
    return _RSLORA.search(text) is not None
