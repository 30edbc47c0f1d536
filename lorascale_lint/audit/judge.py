"""From measurements to a verdict: the nearest hypothesis, by what it would have stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.products import LowRank
from lorascale_lint.audit.measure import Measurement
from lorascale_lint.audit.replay import Hypothesis, Shape, Way
from lorascale_lint.audit.terms import Fit, Rows, Term, Unit
from lorascale_lint.audit.verdicts import MISTAKES, Judgement, Verdict
from lorascale_lint.verify.reference import wrong_scales

# A stored change that is off by less than this share of its own size is the same merge in other arithmetic.
# (half-precision sums on a GPU, TF32)
_SAME = 0.05**2
# The plainer hypothesis is taken where a further one is not clearly nearer.
_CLEARLY_NEARER = 4.0
# A fitted scale that is off by more although every stored value is right shows what rounding swallowed.
_SWALLOWED = 0.01
# With fewer changed elements than this share, another hypothesis could have stored the same.
_FEW = 0.01
_FEWEST = 3
_ALIKE = 0.02
_MOST_RANGES = 6
# Residuals of a fit below this may be the rounding of its float32 sums.
_HIDDEN = 1e-2
_RANK_LEFT = {"F32": 1e-4, "F16": 1e-2, "BF16": 1e-2}


def judge(measurement: Measurement) -> Judgement:
    """The verdict on one unit. Raises InputError if a file can't be read."""
    unit = measurement.unit
    way, fit = _first_way(measurement)
    observed, residual = fit.scales(unit.expected.scales)
    if unit.shape is not Shape.SUM:
        observed, residual = (measurement.decomposition(),), _dora_residual(fit)
    elif fit.unequal and residual < _HIDDEN:
        residual = measurement.remainder(way, observed, math.sqrt(float(np.diag(fit.gram).max())))
    found = Judgement(
        unit.name,
        unit.merged.name,
        Verdict.NOT_JUDGED,
        expected=unit.expected.scales,
        observed=observed,
        residual=residual if math.isfinite(residual) else None,
        rank=unit.terms[0].module.rank,
        arithmetic=way.describe(),
        elements=fit.elements,
        unequal=fit.unequal,
        rows=None if (unit.first, unit.last) == (0, unit.base.rows) else (unit.first, unit.last),
        modules=tuple(term.module.name for term in unit.terms),
    )
    if not math.isfinite(fit.remaining):
        return replace(found, verdict=Verdict.DIFFERS, detail="NaN or infinite values in the weights")
    found = _exact(measurement, way, fit, found) if fit.unequal == 0 else _nearest(measurement, fit, found)
    if not all(term.sure for term in unit.terms) and (
        found.verdict is Verdict.TRANSPOSED
        or (found.verdict is Verdict.DIFFERS and unit.shape is not Shape.SUM)
    ):
        detail = "right if the layer lies the other way, which the files do not say of a square one"
        return replace(found, verdict=Verdict.NOT_JUDGED, detail=detail)
    if any(term.module.assumed for term in unit.terms):
        if found.verdict.is_wrong and found.verdict is not Verdict.NOT_APPLIED:
            detail = f"the adapter states no alpha; with alpha = rank: {found.verdict}"
            return replace(found, verdict=Verdict.NOT_JUDGED, detail=f"{detail}; {found.detail}".rstrip("; "))
        if found.verdict.is_right:
            return replace(found, detail="if alpha was the rank: the adapter states none")
    return found


def _first_way(measurement: Measurement) -> tuple[Way, Fit]:
    """The first way of merging that explains a few rows, or else the most usual one; how all rows fit it."""
    unit = measurement.unit
    if measurement.is_small:
        # The few rows are all there are: a fit says as much, and is wanted anyway.
        usual = measurement.fit(unit.ways[0])
        if usual.unequal == 0:
            return unit.ways[0], usual
        others = ((way, measurement.fit(way)) for way in unit.ways[1:])
        return next((item for item in others if item[1].unequal == 0), (unit.ways[0], usual))
    way = _way_of_a_sample(measurement)
    return way, measurement.fit(way)


def _way_of_a_sample(measurement: Measurement) -> Way:
    unit = measurement.unit
    for way in unit.ways:
        (rows,) = measurement.compare(way, [unit.expected], measurement.sample())
        if not rows.unequal.any():
            return way
    return unit.ways[0]


def _dora_residual(fit: Fit) -> float:
    size = float(fit.gram[0, 0])
    return math.sqrt(fit.remaining / size) if size > 0 else math.inf


def _exact(measurement: Measurement, way: Way, fit: Fit, found: Judgement) -> Judgement:
    unit = measurement.unit
    if not any(unit.expected.scales) and unit.shape is Shape.SUM:
        return replace(found, verdict=Verdict.MATCHES, detail="at strength 0 nothing is to be applied")
    if fit.changed == 0:
        reason = "the delta is zero" if not np.any(fit.gram) else "rounding swallows the whole delta"
        return replace(
            found, verdict=Verdict.NO_TRACE, detail=f"{reason}: a right merge and none store the same"
        )
    if fit.changed < _FEW * fit.elements:
        others = [item for item in _hypotheses(unit) if item.scales != unit.expected.scales]
        compared = measurement.compare(way, others, measurement.all_rows)
        same = [item.name for item, rows in zip(others, compared, strict=True) if not rows.unequal.any()]
        if same:
            few = "1 element" if fit.changed == 1 else f"{fit.changed} elements"
            detail = f"as a right merge stores it, but only {few} changed: `{same[0]}` stores the same"
            return replace(found, verdict=Verdict.ROUNDING_ONLY, detail=detail)
    expected = unit.expected.scales
    off = max(
        (abs(seen / scale - 1) for seen, scale in zip(found.observed, expected, strict=True) if scale),
        default=0,
    )
    if unit.shape is Shape.SUM and off > _SWALLOWED:
        share = fit.changed / fit.elements
        return replace(
            found,
            verdict=Verdict.ROUNDING_ONLY,
            detail=f"each element is as a right merge stores it; {unit.merged.dtype} let {share:.2g} change",
        )
    return replace(found, verdict=Verdict.MATCHES)


def mistakes(term: Term) -> list[tuple[str, float]]:
    """The known wrong scales of one delta, by verdict."""
    module = term.module
    rank = module.stated.divisor or module.rank or 0
    alpha = module.alpha
    if module.stated.scale is not None and rank:
        alpha = module.stated.scale * rank
    if not rank or module.scale is None or alpha is None or not math.isfinite(alpha):
        alpha, rank = None, 1
    found = [
        (MISTAKES[item.verdict].value, item.scale)
        for item in wrong_scales(alpha, rank, term.strength, rslora=module.rslora)
    ]
    found += [(Verdict.TWICE.value, 2 * term.expected), (Verdict.SUBTRACTED.value, -term.expected)]
    return found


def _hypotheses(unit: Unit) -> list[Hypothesis]:
    """The right merge, none at all, each known mistake; of two that are one here, the plainer."""
    found = [unit.expected, *_wrong(unit)]
    unique = {(item.scales, item.normed, item.transposed): item for item in reversed(found)}
    return [item for item in found if unique[item.scales, item.normed, item.transposed] is item]


def _wrong(unit: Unit) -> Iterator[Hypothesis]:
    each = [mistakes(term) for term in unit.terms]
    expected = unit.expected.scales
    for name in dict.fromkeys(name for names in each for name, _ in names):
        # Nothing applied is the bare weight, without a magnitude.
        normed = name != Verdict.NOT_APPLIED
        scales = [dict(names).get(name, scale) for names, scale in zip(each, expected, strict=True)]
        yield Hypothesis(name, tuple(scales), normed=normed)
    if len(expected) > 1:
        for index, names in enumerate(each):
            for name, value in names:
                scales = [value if index == other else scale for other, scale in enumerate(expected)]
                yield Hypothesis(f"{name}, {index}", tuple(scales))
    if unit.shape is not Shape.SUM:
        yield Hypothesis(Verdict.MAGNITUDE_IGNORED.value, expected, normed=False)
    (product, *more) = (term.product for term in unit.terms)
    whole = (unit.first, unit.last) == (0, unit.base.rows)
    if not more and whole and isinstance(product, LowRank) and product.shape[0] == product.shape[1]:
        yield Hypothesis(Verdict.TRANSPOSED.value, expected, transposed=True)


def _nearest(measurement: Measurement, fit: Fit, found: Judgement) -> Judgement:
    unit = measurement.unit
    hypotheses = _hypotheses(unit)
    fitted = found.observed
    if len(unit.terms) == 1 and unit.shape is Shape.SUM:
        likely = measurement.likely_scale(unit.ways[0])
        fitted = fitted if likely is None else (likely,)
    if all(map(math.isfinite, fitted)):
        hypotheses.append(Hypothesis(Verdict.OTHER_SCALE.value, fitted))
    way, sampled = min(
        ((way, measurement.compare(way, hypotheses, measurement.sample())) for way in unit.ways),
        key=lambda item: float(np.min([rows.distance for rows in item[1]], axis=0).sum()),
    )
    wins = set(np.argmin([rows.distance for rows in sampled], axis=0).tolist())
    # At strength 0 the right merge is none at all.
    nothing = next((index for index, item in enumerate(hypotheses) if item.name == Verdict.NOT_APPLIED), 0)
    kept = [index for index in range(len(hypotheses)) if index in wins or index in (0, nothing)]
    chosen = [hypotheses[index] for index in kept]
    compared = measurement.compare(way, chosen, measurement.all_rows)
    found = replace(found, arithmetic=way.describe())
    return _decide(measurement, way, chosen, compared, kept.index(nothing), found)


def _decide(
    measurement: Measurement,
    way: Way,
    hypotheses: Sequence[Hypothesis],
    compared: Sequence[Rows],
    nothing: int,
    found: Judgement,
) -> Judgement:
    distance = np.array([rows.distance for rows in compared])
    change = np.array([rows.change for rows in compared])
    unequal = np.array([rows.unequal for rows in compared])
    changed = np.array([rows.changed for rows in compared])
    # How far the stored rows are from the base weight is how far they are from "not applied".
    moved = distance[nothing]
    whole = _first_near(
        distance.sum(axis=1), np.maximum(change.sum(axis=1), moved.sum()), unequal.sum(axis=1)
    )
    if whole is not None:
        others = [index for index, item in enumerate(hypotheses) if not _alike(item, hypotheses[whole])]
        others_exact = (unequal[others] == 0).any(axis=0)
        deviating = (
            (unequal[whole] > 0) & others_exact & (np.maximum(changed[whole], changed.max(axis=0)) >= _FEWEST)
        )
        if not deviating.any():
            return _named(measurement.unit, hypotheses[whole], found, int(unequal[whole].sum()))
    apart = [
        index
        for index, item in enumerate(hypotheses)
        if not any(_alike(item, other) for other in hypotheses[:index])
    ]
    by_row = _by_row(distance[apart], change[apart], unequal[apart], moved)
    by_row[by_row >= 0] = np.array(apart)[by_row[by_row >= 0]]
    if (by_row >= 0).all() and len(set(by_row.tolist())) > 1:
        return replace(found, verdict=Verdict.PARTLY, detail=_ranges(by_row, hypotheses, measurement.unit))
    if whole is not None:
        return _named(measurement.unit, hypotheses[whole], found, int(unequal[whole].sum()))
    return _by_rank(measurement, way, found)


def _alike(one: Hypothesis, other: Hypothesis) -> bool:
    """Whether a few stored elements could not tell two hypotheses apart."""
    if (one.normed, one.transposed) != (other.normed, other.transposed):
        return False
    return all(
        abs(first - second) <= _ALIKE * max(abs(first), abs(second))
        for first, second in zip(one.scales, other.scales, strict=True)
    )


def _first_near(
    distance: NDArray[np.float64], size: NDArray[np.float64], unequal: NDArray[np.int64]
) -> int | None:
    """The first hypothesis that explains what is stored, and that no other explains clearly better."""
    if not np.all(np.isfinite(distance)):
        return None
    nearest = float(distance.min())
    for index in range(len(distance)):
        if unequal[index] == 0:
            return index
        near = distance[index] <= _CLEARLY_NEARER * nearest
        if near and distance[index] <= _SAME * size[index]:
            return index
    return None


def _by_row(
    distance: NDArray[np.float64],
    change: NDArray[np.float64],
    unequal: NDArray[np.int64],
    moved: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The hypothesis of each row, -1 where none explains it; rows that show nothing go with a neighbour."""
    silent = (unequal == 0).all(axis=0)
    size = np.maximum(change, moved)
    telling = np.flatnonzero(~silent)
    known = np.full(len(telling), -1, np.int64)
    for place, row in enumerate(telling):
        nearest = _first_near(distance[:, row], size[:, row], unequal[:, row])
        known[place] = -1 if nearest is None else nearest
    # The last telling row up to each row; the first of all for those before it.
    before = np.maximum(np.searchsorted(telling, np.arange(distance.shape[1]), side="right") - 1, 0)
    return known[before] if len(known) else np.zeros(distance.shape[1], np.int64)


def _ranges(by_row: NDArray[np.int64], hypotheses: Sequence[Hypothesis], unit: Unit) -> str:
    starts = [0, *(int(row) + 1 for row in np.flatnonzero(np.diff(by_row))), len(by_row)]
    names = [hypothesis.name.partition(",")[0] or "as trained" for hypothesis in hypotheses]
    if len(starts) - 1 > _MOST_RANGES:
        counts = {
            names[index]: int(np.count_nonzero(by_row == index)) for index in sorted(set(by_row.tolist()))
        }
        return ", ".join(f"{count} of {len(by_row)} rows {name}" for name, count in counts.items())
    return ", ".join(
        f"rows {unit.first + first} to {unit.first + last - 1} {names[by_row[first]]}"
        for first, last in itertools.pairwise(starts)
    )


def _named(unit: Unit, hypothesis: Hypothesis, found: Judgement, unequal: int) -> Judgement:
    found = replace(found, unequal=unequal)
    arithmetic = ""
    if unequal:
        arithmetic = f"{unequal} of {found.elements} elements are a rounding off every replay"
    if not hypothesis.name:
        return replace(found, verdict=Verdict.MATCHES, detail=arithmetic)
    name, _, which = hypothesis.name.partition(", ")
    verdict = Verdict(name)
    parts = []
    if which:
        parts.append(f"adapter {int(which) + 1} only")
    unscaled = (Verdict.NOT_APPLIED, Verdict.TRANSPOSED, Verdict.MAGNITUDE_IGNORED)
    if len(unit.terms) == 1 and verdict not in unscaled and unit.expected.scales[0]:
        parts.append(f"{hypothesis.scales[0] / unit.expected.scales[0]:.6g}x the trained strength")
    return replace(found, verdict=verdict, detail="; ".join([*parts, *([arithmetic] if arithmetic else [])]))


def _by_rank(measurement: Measurement, way: Way, found: Judgement) -> Judgement:
    unit = measurement.unit
    found = replace(found, verdict=Verdict.DIFFERS)
    if len(unit.terms) > 1 or unit.shape is not Shape.SUM:
        return found
    fitted = measurement.by_rank(way)
    if fitted is None or fitted[1] > _RANK_LEFT[unit.merged.dtype]:
        return found
    relative = fitted[0] / unit.terms[0].expected
    there, gone = np.abs(relative - 1) < 0.1, np.abs(relative) < 0.1
    if np.all(there | gone) and there.any() and gone.any():
        detail = f"{int(there.sum())} of {len(relative)} ranks as trained, the others not applied"
        return replace(found, verdict=Verdict.PARTLY, detail=detail)
    return replace(found, detail="the ranks of the delta have different scales")
