"""A part of a weight with the deltas that belong there, and what is counted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.floats import Array
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.products import Product
from lorascale_lint.adapters.tensors import Stored
from lorascale_lint.audit.replay import Hypothesis, Shape, Way

Wide = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Term:
    """One delta of a weight: its module, and the scale it should have (strength included)."""

    adapter: int
    module: Module
    product: Product
    expected: float
    strength: float
    sure: bool = True  # whether it is known which way the weight lies


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows of a weight with the deltas that belong there; several if adapters share it."""

    name: str
    base: Stored
    merged: Stored
    first: int
    last: int
    terms: tuple[Term, ...]
    ways: tuple[Way, ...]
    shape: Shape = Shape.SUM
    magnitude: Array | None = None  # one number for each row or column

    @property
    def expected(self) -> Hypothesis:
        """The merge as it should be."""
        return Hypothesis("", tuple(term.expected for term in self.terms))


@dataclass(slots=True)
class Fit:
    """Sums over all elements, of a weight's change and what was expected of it.

    With E = merged - replay, P the products: enough for the joint least squares of
    `lorascale_lint.verify.reference.fit`, but without the matrices. Starting from the replay keeps
    what cancels out of the sums.
    """

    along: Wide  # <E, P_k>
    gram: Wide  # <P_k, P_l>
    remaining: float = 0.0  # <E, E>
    elements: int = 0
    unequal: int = 0  # elements that are not what the replay stores
    changed: int = 0  # elements that are not those of the base weight

    def scales(self, expected: Sequence[float]) -> tuple[tuple[float, ...], float]:
        """Observed scale of each product, and the residual relative to the largest of them at scale 1."""
        norms = np.sqrt(np.diag(self.gram))
        if not (np.all(norms > 0) and np.isfinite(self.remaining)):
            return (float("nan"),) * len(norms), float("inf")
        if len(norms) == 1:
            off = self.along / norms
        else:
            off, *_ = np.linalg.lstsq(self.gram / np.outer(norms, norms), self.along / norms, rcond=1e-12)
        left = self.remaining - float(off @ (self.along / norms))
        return (
            tuple(float(scale + value) for scale, value in zip(expected, off / norms, strict=True)),
            float(np.sqrt(max(left, 0.0)) / norms.max()),
        )


@dataclass(slots=True)
class Rows:
    """How far one hypothesis is from each row; float64 sums of squares, and counts of elements."""

    distance: Wide
    change: Wide  # |replay - base|^2
    unequal: NDArray[np.int64]
    changed: NDArray[np.int64]
