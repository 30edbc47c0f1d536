"""The names of what `audit` can find out about a weight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lorascale_lint.verify.verdicts import Verdict as Measured


class Verdict(StrEnum):
    """What the stored weights say."""

    MATCHES = "matches"
    ROUNDING_ONLY = "rounding only"
    NO_TRACE = "leaves no trace"
    ALPHA_IGNORED = "alpha ignored"
    RAW_ALPHA = "raw alpha"
    SQUARED = "squared"
    INVERTED = "inverted"
    TRUNCATED = "alpha truncated"
    RSLORA_IGNORED = "rsLoRA ignored"
    STRENGTH_IGNORED = "strength ignored"
    TWICE = "applied twice"
    SUBTRACTED = "subtracted"
    TRANSPOSED = "transposed"
    MAGNITUDE_IGNORED = "magnitude ignored"
    OTHER_SCALE = "another scale"
    NOT_APPLIED = "not applied"
    PARTLY = "partially applied"
    DIFFERS = "differs otherwise"
    CHANGED = "changed, though untouched by the adapter"
    MISSING = "missing in the merged checkpoint"
    OTHER_SHAPE = "other shape"
    NOT_JUDGED = "could not be judged"

    @property
    def is_right(self) -> bool:
        """True where the merged weight is what a right merge leaves, and that shows."""
        return self in (Verdict.MATCHES, Verdict.ROUNDING_ONLY)

    @property
    def is_wrong(self) -> bool:
        """True where the merged weight is not what a right merge leaves."""
        return not self.is_right and self not in (Verdict.NO_TRACE, Verdict.NOT_JUDGED)


# The mistakes that `verify` knows, under the names they have here.
MISTAKES = {
    Measured.NOT_APPLIED: Verdict.NOT_APPLIED,
    Measured.TRUNCATED: Verdict.TRUNCATED,
    Measured.RSLORA_IGNORED: Verdict.RSLORA_IGNORED,
    Measured.ALPHA_IGNORED: Verdict.ALPHA_IGNORED,
    Measured.DOUBLE_SCALED: Verdict.SQUARED,
    Measured.RANK_IGNORED: Verdict.RAW_ALPHA,
    Measured.INVERTED: Verdict.INVERTED,
    Measured.STRENGTH_IGNORED: Verdict.STRENGTH_IGNORED,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found for one adapted module, or for one tensor beside them.

    `expected` and `observed` are scales of B @ A, one for each adapter; `residual` is what points elsewhere,
    relative to the largest delta at its trained scale.
    """

    name: str
    tensor: str
    verdict: Verdict
    detail: str = ""
    expected: tuple[float, ...] = ()
    observed: tuple[float, ...] = ()
    residual: float | None = None
    rank: int | None = None
    arithmetic: str = ""
    elements: int = 0
    unequal: int = 0
    adapted: bool = True
    rows: tuple[int, int] | None = None
    modules: tuple[str, ...] = ()
