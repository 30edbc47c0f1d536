"""Does `verify` ever blame right code? `python benchmarks/verify_trials.py [TRIALS]` (1000; 2 minutes).

Examines a right torch implementation with new random numbers in every trial, in each floating-point type, and
prints how often it was blamed and how close its rounding came to the tolerances. Exits 1 if it was blamed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from lorascale_lint.verify.examination import examine
from lorascale_lint.verify.own import OwnDriver
from lorascale_lint.verify.reference import TOLERANCES
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.verdicts import Row


class Right:
    """Merge, unmerge and forward as they should be."""

    def merge(self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0) -> Any:
        return weight + strength * (1.0 if alpha is None else alpha / rank) * (b @ a)

    def unmerge(
        self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0
    ) -> Any:
        return weight - strength * (1.0 if alpha is None else alpha / rank) * (b @ a)

    def forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        a: Any,
        b: Any,
        rank: int,
        alpha: Any = None,
        strength: float = 1.0,
    ) -> Any:
        scale = strength * (1.0 if alpha is None else alpha / rank)
        return torch.nn.functional.linear(x, weight, bias) + scale * (x @ a.T @ b.T)


def main(trials: int) -> int:
    """Run the trials; the exit code."""
    torch.set_num_threads(1)
    driver = OwnDriver(Right, name="right")
    blamed: Counter[str] = Counter()
    for dtype, tolerance in TOLERANCES.items():
        plan = scenarios(driver.layer_kinds, driver.capabilities, dtype=dtype)
        measured, scale, residual = 0, 0.0, 0.0
        for seed in range(trials):
            rows: list[Row] = []
            for scenario in plan:
                examine(scenario, driver, seed, Path(tempfile.gettempdir()), rows.append)
            for row in rows:
                if row.dtype != dtype or not row.counted or not row.verdict.is_judged:
                    continue
                measured += 1
                blamed.update([dtype] if row.is_failure else [])
                if row.expected and row.relative_error is not None and row.residual is not None:
                    share = row.relative_error * row.expected / max(row.expected, 0.1)
                    scale, residual = max(scale, share), max(residual, row.residual)
        print(
            f"{dtype}: {measured} measurements, {blamed[dtype]} blamed; "
            f"largest error of a scale {scale / tolerance.scale:.1%} of the tolerance, "
            f"largest residual {residual / tolerance.residual:.1%}"
        )
    return 1 if blamed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
