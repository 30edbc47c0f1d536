"""One adapted module: its kind, its rank and the scale it was trained with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lorascale_lint.adapters.factors import Factors, Spelling
from lorascale_lint.knowledge.kinds import UNSCALED, Kind


class AlphaSource(StrEnum):
    """Where the file says which alpha, or which scale, a module was trained with."""

    TENSOR = "tensor"
    CONFIG = "settings beside the file"
    METADATA = "file metadata"
    NOWHERE = "nowhere"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True, slots=True)
class Stated:
    """What a convention says of one module."""

    source: AlphaSource = AlphaSource.NOWHERE
    key: str = ""
    alpha: float | None = None
    scale: float | None = None  # where the file has the scale itself instead of alpha
    rslora: bool = False
    dora: bool = False
    rank: int | None = None  # the rank that the settings give
    divisor: int | None = None  # where the scale is not over the rank of the tensors


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted module of a file."""

    name: str
    kind: Kind
    rank: int | None
    branches: int  # the rows of A are this many times the rank
    alpha: float | None
    alpha_source: AlphaSource
    alpha_key: str
    rslora: bool
    dora: bool
    scale: float | None  # the trained scale; None if it can't be said
    assumed: bool  # alpha is nowhere, or a placeholder, so the scale is that of alpha = rank
    spelling: Spelling
    stated: Stated
    factors: Factors

    @property
    def placeholder(self) -> bool:
        """Whether the alpha that is stated is 0, with which nothing is trained."""
        return self.assumed and self.alpha == 0

    @property
    def tucker(self) -> bool:
        """Whether there is a core tensor between both factors."""
        return bool({"lora_mid", "hada_t1", "lokr_t2"} & self.factors.keys.keys())


def shape_of(factors: Factors, *, transposed: bool = False) -> tuple[Kind, int | None, int] | None:
    """Kind, rank and number of fused branches as the shapes show them; None if they make no module."""
    if factors.has("down", "up"):
        return _low_rank(factors, transposed)
    if factors.has("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"):
        return Kind.LOHA, _first(factors.shape("hada_w1_b")), 1
    if any(role.startswith("lokr_w") for role in factors.keys):
        return _kronecker(factors)
    if factors.has("a1", "a2", "b1", "b2"):
        return Kind.GLORA, _glora_rank(factors), 1
    for kind, roles in (
        (Kind.OFT, ("oft_blocks", "oft_diag", "oft_R", "oft_r", "boft_R")),
        (Kind.VERA, ("vera_lambda_b",)),
        (Kind.IA3, ("ia3_l",)),
        (Kind.FULL, ("diff", "diff_b", "set_weight", "w_norm", "b_norm")),
    ):
        if any(role in factors.keys for role in roles):
            return kind, None, 1
    return None


def _low_rank(factors: Factors, transposed: bool) -> tuple[Kind, int | None, int] | None:
    down, up = factors.shape("down") or (), factors.shape("up") or ()
    if len(down) < 2 or len(up) < 2:
        return None
    if transposed:
        # in x rank and rank x out; a pair for each expert lies as rank x in and out x rank.
        rows, columns = (down[1], up[2]) if len(down) == len(up) == 3 else (down[-1], up[-2])
    else:
        rows, columns = down[0], up[1]
    kind = Kind.LORA
    if factors.has("lora_E"):
        kind = Kind.ADALORA
    elif len(down) > 2 and not transposed:
        kind = Kind.CONV
    if rows == columns:
        return kind, columns, 1
    if rows and columns and rows % columns == 0:
        # loralib, litgpt and LongCat: A of n branches on one another, B with the rank of one of them.
        return kind, columns, rows // columns
    return None


def _kronecker(factors: Factors) -> tuple[Kind, int | None, int] | None:
    first = factors.has("lokr_w1") or factors.has("lokr_w1_a", "lokr_w1_b")
    second = factors.has("lokr_w2") or factors.has("lokr_w2_a", "lokr_w2_b")
    if not (first and second):
        return None
    for role in ("lokr_w2_b", "lokr_w1_b"):
        if factors.has(role):
            return Kind.LOKR, _first(factors.shape(role)), 1
    return Kind.FULL_LOKR, None, 1


def _glora_rank(factors: Factors) -> int | None:
    a1, a2, b1, b2 = (factors.shape(role) or () for role in ("a1", "a2", "b1", "b2"))
    if min(map(len, (a1, a2, b1, b2))) < 2:
        return None
    if a1[1] == a2[0] == b1[1] == b2[0]:
        return a1[1]
    if a1[0] == a2[1] == b1[0] == b2[1]:
        return a1[0]
    return None


def _first(shape: tuple[int, ...] | None) -> int | None:
    return shape[0] if shape else None


def trained_scale(kind: Kind, rank: int | None, stated: Stated) -> tuple[float | None, bool]:
    """The trained scale of a module, and whether it is only that of alpha = rank."""
    if kind in UNSCALED:
        return 1.0, False
    if stated.scale is not None:
        return (stated.scale if math.isfinite(stated.scale) else None), False
    divisor = stated.divisor or rank
    if kind is Kind.FULL_LOKR and stated.divisor is None:
        # LyCORIS makes alpha the rank here, whatever was asked for.
        return 1.0, False
    if stated.alpha == 0:
        # Nobody trains with it: the number only holds a place, and most programs take the rank for it.
        return 1.0, True
    if stated.alpha is None:
        return (1.0, True) if stated.source is AlphaSource.NOWHERE else (None, False)
    if not math.isfinite(stated.alpha) or not divisor:
        return None, False
    return stated.alpha / (math.sqrt(divisor) if stated.rslora else divisor), False


def make_module(factors: Factors, stated: Stated, *, transposed: bool = False) -> Module | None:
    """The module that the tensors make; None if they are not whole or do not fit."""
    found = shape_of(factors, transposed=transposed)
    if found is None or factors.twice:
        return None
    kind, rank, branches = found
    scale, assumed = trained_scale(kind, rank, stated)
    needed = kind not in UNSCALED and not (kind is Kind.FULL_LOKR and stated.divisor is None)
    source = stated.source if needed else AlphaSource.NOT_NEEDED
    dora = stated.dora or bool({"dora_scale", "lora_magnitude_vector", "magnitude"} & factors.keys.keys())
    return Module(
        factors.name, kind, rank, branches, stated.alpha, source, stated.key, stated.rslora, dora,
        scale, assumed, factors.spelling, stated, factors,
    )  # fmt: skip
