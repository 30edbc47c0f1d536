"""One adapted weight, block by block: how far what is stored is from what a hypothesis would have stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.floats import Array, rounded, spacing
from lorascale_lint.adapters.products import LowRank, Product, with_rounding
from lorascale_lint.audit.blocks import Block, Buffers
from lorascale_lint.audit.replay import Hypothesis, Shape, Way, added, deltas_of, summed
from lorascale_lint.audit.steps import ULPS, changed, further
from lorascale_lint.audit.terms import Fit, Rows, Unit, Wide

Flags = NDArray[np.bool_]

# As many elements as stay in the cache of a core with what is computed from them.
_BLOCK = 1 << 16
_UNIT = 2.0**-24
# A norm over a row is a sum of thousands of squares; in half precision its terms were rounded too.
_NORM_ERROR = 2.0**-20
_NORM_ERROR_HALF = 2.0**-12
_SAMPLE_BLOCKS = 8
_SAMPLE_BLOCK = 1 << 13
_LOOKED_AT = 4096


class Measurement:
    """Reads one unit as often as it is asked to."""

    def __init__(self, unit: Unit, buffers: Buffers) -> None:
        self.unit = unit
        self.buffers = buffers
        self._products: dict[tuple[str, str], list[Product]] = {}
        self._sizes: dict[tuple[str, str], list[tuple[Array, Array]]] = {}
        self._columns: tuple[Wide, Wide, Wide] | None = None
        self._whole: Block | None = None  # the one block of a small unit, while the buffers hold it

    def products(self, way: Way) -> list[Product]:
        """The products of factors as a merge in this way rounds them."""
        key = way.factors, way.product
        if key not in self._products:
            self._products[key] = [with_rounding(term.product, *key) for term in self.unit.terms]
            # How much another order of float32 sums can change an element: at most u[i] * v[j].
            self._sizes[key] = [
                (u * np.float32((product.terms + 2) * 2 * _UNIT), v)
                for product in self._products[key]
                for u, v in [product.sizes()]
            ]
        return self._products[key]

    def blocks(self, rows: Sequence[tuple[int, int]]) -> Iterator[Block]:
        """The blocks that cover these rows of the weight."""
        if self.is_small and rows == self.all_rows:
            if self._whole is None:
                self._whole = self.buffers.block(
                    self.unit.base, self.unit.merged, self.unit.first, self.unit.last
                )
            yield self._whole
            return
        self._whole = None
        step = max(1, _BLOCK // max(1, self.unit.base.columns))
        for start, end in rows:
            for first in range(start, end, step):
                yield self.buffers.block(self.unit.base, self.unit.merged, first, min(first + step, end))

    @property
    def is_small(self) -> bool:
        """Whether the unit is one block, and a sample of its rows would be all of them."""
        rows, columns = self.unit.last - self.unit.first, max(1, self.unit.base.columns)
        return rows * columns <= _BLOCK and rows <= _SAMPLE_BLOCKS * max(1, _SAMPLE_BLOCK // columns)

    @property
    def all_rows(self) -> list[tuple[int, int]]:
        """Every row."""
        return [(self.unit.first, self.unit.last)]

    def sample(self) -> list[tuple[int, int]]:
        """A few rows from all over the weight."""
        unit = self.unit
        step = max(1, _SAMPLE_BLOCK // max(1, unit.base.columns))
        if unit.last - unit.first <= step * _SAMPLE_BLOCKS:
            return self.all_rows
        starts = np.linspace(unit.first, unit.last - step, _SAMPLE_BLOCKS).astype(int)
        return [(int(start), int(start) + step) for start in starts]

    def fit(self, way: Way) -> Fit:
        """One pass over the whole weight: is it what the expected merge stores, and at which scale?"""
        expected = self.unit.expected
        count = len(self.unit.terms)
        found = Fit(np.zeros(count), self._gram())
        known = bool(np.all(np.isfinite(found.gram)))
        if not known:
            found.gram[:] = 0
        same = self.unit.base.dtype == self.unit.merged.dtype
        with np.errstate(all="ignore"):
            for block in self.blocks(self.all_rows):
                products = self._made(block, way)
                replay, rest = self._replay_and_rest(block, products, expected, way)
                found.elements += rest.size
                found.remaining += float(np.dot(rest, rest))
                for index, product in enumerate(products):
                    flat = product.ravel()
                    found.along[index] += float(np.dot(rest, flat))
                    if not known:
                        for other in range(index, count):
                            value = float(np.dot(flat, products[other].ravel()))
                            found.gram[index, other] += value
                            if other != index:
                                found.gram[other, index] += value
                found.changed += changed(block, self.unit.merged.dtype, same=same)
                found.unequal += int(np.count_nonzero(self._unequal(block, products, replay, expected, way)))
        return found

    def remainder(self, way: Way, scales: Sequence[float], largest: float) -> float:
        """What is left of the change beside the products at these scales, relative to the largest product.

        `Fit.scales` subtracts sums of squares, and what float32 rounds off them hides a small remainder.
        """
        left = 0.0
        with np.errstate(all="ignore"):
            for block in self.blocks(self.all_rows):
                products = self._made(block, way)
                _, rest = self._replay_and_rest(block, products, Hypothesis("", tuple(scales)), way)
                left += float(np.dot(rest, rest))
        return float(np.sqrt(left)) / largest

    def _gram(self) -> Wide:
        # <BA, DC> of low-rank products needs no pass; NaN says that one is needed.
        products = self.products(Way())
        found = np.full((len(products), len(products)), np.nan)
        for row, first in enumerate(products):
            for column, second in enumerate(products):
                if isinstance(first, LowRank) and isinstance(second, LowRank):
                    found[row, column] = first.overlap(second)
        return found

    def compare(
        self, way: Way, hypotheses: Sequence[Hypothesis], rows: Sequence[tuple[int, int]]
    ) -> list[Rows]:
        """How far each hypothesis is from each of these rows."""
        total = sum(last - first for first, last in rows)
        found = [
            Rows(np.zeros(total), np.zeros(total), np.zeros(total, np.int64), np.zeros(total, np.int64))
            for _ in hypotheses
        ]
        done = 0
        dtype = self.unit.merged.dtype
        with np.errstate(all="ignore"):
            for block in self.blocks(rows):
                products = self._made(block, way)
                here = slice(done, done + len(block.weight))
                done = here.stop
                start = rounded(block.weight, dtype)
                for item, hypothesis in zip(found, hypotheses, strict=True):
                    used = self._made(block, way, transposed=True) if hypothesis.transposed else products
                    replay = self._replay(block, used, hypothesis, way)
                    unequal = self._unequal(block, used, replay.copy(), hypothesis, way)
                    stored = rounded(replay, dtype)
                    rest = block.merged - stored
                    # What is equal but for the order of a sum is no distance.
                    rest[~unequal] = 0
                    moved = stored - start
                    item.distance[here] = np.einsum("ij,ij->i", rest, rest)
                    item.change[here] = np.einsum("ij,ij->i", moved, moved)
                    item.unequal[here] = np.count_nonzero(unequal, axis=1)
                    item.changed[here] = np.count_nonzero(moved, axis=1)
        return found

    def decomposition(self) -> float:
        """The scale in a weight that DoRA has normed: its direction gives it, whatever the magnitude.

        As `lorascale_lint.verify.reference.fit_dora`, from sums over each row (or column).
        """
        axis = 1 if self.unit.shape is Shape.ROWS else 0
        parts: list[Wide] = []
        with np.errstate(all="ignore"):
            for block in self.blocks(self.all_rows):
                (product,) = self._made(block, Way())
                weight, merged = block.weight, block.merged
                pairs = (
                    (weight, weight),
                    (weight, product),
                    (product, product),
                    (merged, weight),
                    (merged, product),
                )
                sums = np.stack([np.sum(np.multiply(x, y, dtype=np.float64), axis=axis) for x, y in pairs])
                if axis == 1:
                    parts.append(sums)
                elif parts:
                    parts[0] += sums
                else:
                    parts.append(sums)
            ww, wp, pp, mw, mp = np.concatenate(parts, axis=1)
            determinant = ww * pp - wp * wp
            of_weight = (mw * pp - mp * wp) / determinant
            of_product = (mp * ww - mw * wp) / determinant
            usable = np.isfinite(of_weight) & np.isfinite(of_product)
            norm = float(of_weight[usable] @ of_weight[usable])
            return float(of_weight[usable] @ of_product[usable]) / norm if norm > 0 else float("nan")

    def likely_scale(self, way: Way) -> float | None:
        """The scale that agrees with the stored value of as many elements as possible, in a few rows.

        A fitted scale is biased where rounding swallows deltas; each stored value leaves an interval of
        scales open instead, and the intervals of a real merge meet. For one delta that is added.
        """
        lows: list[Array] = []
        highs: list[Array] = []
        with np.errstate(all="ignore"):
            for block in self.blocks(self.sample()):
                (product,) = self._made(block, way)
                half = spacing(block.merged, self.unit.merged.dtype) * np.float32(0.5)
                half += np.float32(ULPS * _UNIT * 2) * np.abs(block.merged)
                middle = block.merged - rounded(block.weight, way.base)
                one, other = (middle - half) / product, (middle + half) / product
                lows.append(np.minimum(one, other).ravel())
                highs.append(np.maximum(one, other).ravel())
        low, high = np.concatenate(lows), np.concatenate(highs)
        usable = np.isfinite(low) & np.isfinite(high)
        if not np.any(usable):
            return None
        ends = np.concatenate([low[usable], high[usable]])
        order = np.argsort(ends, kind="stable")
        steps = np.where(order < np.count_nonzero(usable), 1, -1)
        best = int(np.argmax(np.cumsum(steps)))
        after = min(best + 1, len(order) - 1)
        return float(ends[order[best]].astype(np.float64) + ends[order[after]].astype(np.float64)) / 2

    def by_rank(self, way: Way) -> tuple[Wide, float] | None:
        """The scale of each of a delta's ranks, and the share of the change that they leave unexplained.

        B'DA' of the change D and the Gram matrix of the ranks give the least squares. For one low-rank delta.
        """
        (product,) = self.products(way)
        if not isinstance(product, LowRank):
            return None
        first: tuple[Wide, Wide] = product.b.astype(np.float64), product.a.astype(np.float64)
        along = np.zeros((product.terms, product.terms))
        total = 0.0
        with np.errstate(all="ignore"):
            for block in self.blocks(self.all_rows):
                change = (block.merged - rounded(block.weight, self.unit.merged.dtype)).astype(np.float64)
                total += float(np.sum(change * change))
                rows = slice(block.first - self.unit.first, block.last - self.unit.first)
                along += first[0][rows].T @ (change @ first[1].T)
        gram = (first[0].T @ first[0]) * (first[1] @ first[1].T)
        if not (np.isfinite(total) and total > 0):
            return None
        scales = np.linalg.lstsq(gram, np.diag(along), rcond=1e-10)[0].astype(np.float64)
        left = total - 2 * float(scales @ np.diag(along)) + float(scales @ gram @ scales)
        return scales, max(left, 0.0) / total

    def _made(self, block: Block, way: Way, *, transposed: bool = False) -> list[Array]:
        first, last = block.first - self.unit.first, block.last - self.unit.first
        products = self.products(way)
        if transposed:
            products = [item.transposed for item in products if isinstance(item, LowRank)]
        return [item.rows(first, last) for item in products]

    def _replay(self, block: Block, products: Sequence[Array], hypothesis: Hypothesis, way: Way) -> Array:
        total = summed(block.weight, products, hypothesis.scales, way)
        if self.unit.shape is Shape.SUM or not hypothesis.normed:
            return total
        return rounded(total * self._factor(block, total, hypothesis, way), way.total)

    def _replay_and_rest(
        self, block: Block, products: Sequence[Array], hypothesis: Hypothesis, way: Way
    ) -> tuple[Array, Array]:
        if self.unit.shape is not Shape.SUM:
            replay = self._replay(block, products, hypothesis, way)
            return replay, (block.merged - replay).ravel()
        deltas = deltas_of(products, hypothesis.scales, way)
        # The change less the delta: the sum would have rounded a small delta away.
        rest = block.merged - rounded(block.weight, way.base)
        for delta in deltas:
            rest -= delta
        return added(block.weight, deltas, way), rest.ravel()

    def _factor(
        self, block: Block, total: Array, hypothesis: Hypothesis, way: Way, off: float = 0.0
    ) -> Array:
        # DoRA: magnitude / norm, each rounded as the sum is; `off` is how far the norm may be from this one.
        magnitude = self.unit.magnitude
        assert magnitude is not None
        if self.unit.shape is Shape.ROWS:
            squares = np.sum(np.multiply(total, total, dtype=np.float64), axis=1)[:, None]
            magnitude = magnitude[block.first - self.unit.first : block.last - self.unit.first, None]
        else:
            scale = hypothesis.scales[0]
            ww, wp, pp = self._column_sums()
            squares = (ww + 2 * scale * wp + scale * scale * pp)[None, :]
            magnitude = magnitude[None, :]
        norm = rounded((np.sqrt(squares) * (1 + off)).astype(np.float32), way.total)
        return rounded(magnitude / norm, way.total)

    def _column_sums(self) -> tuple[Wide, Wide, Wide]:
        if self._columns is None:
            width = self.unit.base.columns
            sums = np.zeros((3, width))
            # Buffers of its own: this runs in the middle of another pass.
            inner = Measurement(self.unit, Buffers())
            for block in inner.blocks(self.all_rows):
                (product,) = inner._made(block, Way())
                for index, (x, y) in enumerate(
                    ((block.weight, block.weight), (block.weight, product), (product, product))
                ):
                    sums[index] += np.sum(np.multiply(x, y, dtype=np.float64), axis=0)
            inner.buffers.reader.close()
            self._columns = sums[0], sums[1], sums[2]
        return self._columns

    def _unequal(
        self, block: Block, products: Sequence[Array], replay: Array, hypothesis: Hypothesis, way: Way
    ) -> Flags:
        """Where the stored value is none that this merge can have given; `replay` is used up."""
        dtype = self.unit.merged.dtype
        suspects = further(replay, block, dtype)
        found = np.zeros(block.merged.shape, np.bool_)
        if not len(suspects):
            return found
        flat = found.ravel()
        looked = (
            suspects[:: max(1, len(suspects) // _LOOKED_AT)] if len(suspects) > 4 * _LOOKED_AT else suspects
        )
        wrong = self._impossible(block, products, hypothesis, way, looked)
        if len(looked) < len(suspects):
            if np.count_nonzero(wrong) * 2 > len(looked):
                # Another merge altogether: no need to look at each.
                flat[suspects] = True
                return found
            looked = suspects
            wrong = self._impossible(block, products, hypothesis, way, looked)
        flat[looked[wrong]] = True
        return found

    def _impossible(
        self,
        block: Block,
        products: Sequence[Array],
        hypothesis: Hypothesis,
        way: Way,
        where: NDArray[np.intp],
    ) -> Flags:
        # Each step of a merge is monotone, so the ends of the interval of each product give those of the sum.
        dtype = self.unit.merged.dtype
        columns = block.weight.shape[1]
        rows, places = np.divmod(where, columns)
        weight = block.weight.ravel()[where]
        merged = block.merged.ravel()[where]
        sums: list[Array] = []
        for sign in (-1, 1):
            ends = []
            for product, (u, v), scale in zip(
                products, self._sizes[way.factors, way.product], hypothesis.scales, strict=True
            ):
                if hypothesis.transposed:
                    u, v = v, u
                error = u[rows + block.first - self.unit.first] * v[places]
                ends.append(product.ravel()[where] + error * np.float32(sign if scale >= 0 else -sign))
            sums.append(summed(weight, ends, hypothesis.scales, way))
        if self.unit.shape is not Shape.SUM and hypothesis.normed:
            half = way.total != "F32" and self.unit.shape is Shape.COLUMNS
            total = summed(block.weight, products, hypothesis.scales, way)
            off = _NORM_ERROR_HALF if half else _NORM_ERROR
            sums = [
                rounded(end * np.broadcast_to(factor, block.weight.shape).ravel()[where], way.total)
                for factor in (self._factor(block, total, hypothesis, way, sign * off) for sign in (-1, 1))
                for end in sums
            ]
        stacked = np.stack(sums)
        slack = np.float32(ULPS * _UNIT) * np.abs(stacked).max(axis=0)
        low = rounded(stacked.min(axis=0) - slack, dtype)
        high = rounded(stacked.max(axis=0) + slack, dtype)
        return ~((low <= merged) & (merged <= high))
