"""The names of what `verify` can find out, and the row that carries one of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What one measurement says about the code."""

    OK = "ok"
    ALPHA_IGNORED = "alpha-ignored"
    STALE_ALPHA = "stale-alpha"
    TRUNCATED = "truncated"
    RANK_IGNORED = "rank-ignored"
    RSLORA_IGNORED = "rslora-ignored"
    STRENGTH_IGNORED = "strength-ignored"
    NOT_APPLIED = "not-applied"
    DOUBLE_SCALED = "double-scaled"
    INVERTED = "inverted"
    WRONG_SCALE = "wrong-scale"
    MIXED_SCALE = "mixed-scale"
    WRONG_DIRECTION = "wrong-direction"
    RESIDUAL_AFTER_SWITCH = "residual-after-switch"
    RESIDUAL_AFTER_UNMERGE = "residual-after-unmerge"
    LOAD_ERROR = "load-error"
    CRASHED = "crashed"
    ERROR = "error"
    NOT_LORA_SHAPED = "not-lora-shaped"
    BASE_SCALED = "base-scaled"
    STRENGTH_NOT_LINEAR = "strength-not-linear"
    ONE_SCALE_FOR_ALL = "one-scale-for-all"
    RANK_DEPENDENT = "rank-dependent"
    MERGED_DIFFERS = "merged-differs"
    ACCUMULATES = "accumulates"
    LOST_WHEN_SAVED = "lost-when-saved"
    OBSERVED = "observed"
    NOT_RUN = "not-run"
    UNSUPPORTED = "unsupported"
    AMBIGUOUS = "ambiguous"
    NOT_MEASURED = "not-measured"

    @property
    def is_judged(self) -> bool:
        """True where the code was run and its answer says something about the scale."""
        return self not in _NOT_JUDGED

    @property
    def is_failure(self) -> bool:
        """True where the code does not do what the adapter asks."""
        return self.is_judged and self is not Verdict.OK


_NOT_JUDGED = frozenset(
    {Verdict.UNSUPPORTED, Verdict.AMBIGUOUS, Verdict.NOT_MEASURED, Verdict.OBSERVED, Verdict.NOT_RUN}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured scale, or the reason why there is none.

    `expected` and `observed` are effective scales (no unit); NaN: no scale is expected. `relative_error` is
    |observed / expected - 1|; where nothing should be left (expected 0) it is |observed|. `residual` is the
    part of the change that points elsewhere than any adapter, relative to the largest of them. `counted` is
    False for rows that are only a warning. `mse` are mean squared differences from the right weight (see
    `real_layers`). Of a real adapter's layer `seconds` are what the loader took, `least_seconds` what memory
    alone would take (see `timing`). `reached` are the rows of the project that were executed ("file:row"),
    where somebody asked for them.
    """

    scenario: str
    group: str
    label: str
    adapter: str
    expected: float
    observed: float | None = None
    relative_error: float | None = None
    residual: float | None = None
    alpha: float | None = None
    rank: int = 0
    strength: float = 1.0
    dtype: str = "float32"
    layer: str = ""
    shape: tuple[int, int] | None = None
    counted: bool = True
    verdict: Verdict = Verdict.CRASHED
    detail: str = ""
    mse: dict[str, float] | None = None
    seconds: float | None = None
    least_seconds: float | None = None
    reached: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The scenario with the measurement's own label, as shown to a person."""
        return f"{self.scenario}: {self.label}" if self.label else self.scenario

    @property
    def is_failure(self) -> bool:
        """True if this row alone makes the run differ."""
        return self.counted and self.verdict.is_failure

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; NaN and infinities become None (JSON has no such numbers)."""
        data = asdict(self)
        data["verdict"] = self.verdict.value
        if not self.reached:
            del data["reached"]
        for key in ("expected", "observed", "relative_error", "residual"):
            value = data[key]
            if value is not None and not abs(value) < float("inf"):
                data[key] = None
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Row:
        """The inverse of `as_dict`. Raises KeyError, TypeError or ValueError on anything else."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["verdict"] = Verdict(values["verdict"])
        if values.get("expected") is None:
            values["expected"] = math.nan
        values["reached"] = tuple(values.get("reached", ()))
        if values.get("shape") is not None:
            values["shape"] = (int(values["shape"][0]), int(values["shape"][1]))
        return cls(**values)
