"""The scale that each loader will apply to a file, and the argument to pass for the trained one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.applied import NotKnown, Refused, applied_scale, check_whole, magnitude_of
from lorascale_lint.adapters.matching import case_of, is_language_model
from lorascale_lint.adapters.module import Module
from lorascale_lint.knowledge.kinds import UNSCALED
from lorascale_lint.knowledge.reading import Loader, Magnitude, Models, Refuses, Scales, Skips, Unsaid

OTHER_MODELS = "it is for diffusion models, and this is an adapter of a language model"
_SAME = 1e-3  # a bfloat16 alpha is only known to about three digits


class Outcome(StrEnum):
    """How the scale that a loader applies compares with the trained one."""

    RIGHT = "right"
    RIGHT_IF_RANK = "right if alpha was the rank"
    WRONG = "wrong"
    NOTHING = "nothing applied"
    REFUSED = "refused"
    DEPENDS = "depends on the names"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one loader does with one file."""

    loader: Loader
    outcome: Outcome
    low: float | None = None  # the smallest and the largest scale that it applies
    high: float | None = None
    wrong: int = 0
    count: int = 0
    factor: float | None = None  # applied / trained, where it is one number for all modules
    argument: str = ""
    reason: str = ""
    source: str = ""


def predict(adapter: Adapter, loader: Loader) -> Prediction:
    """The scale that a loader applies to the modules of a file."""
    suffix = adapter.source.path.suffix
    if suffix not in loader.suffixes:
        return Prediction(
            loader, Outcome.UNKNOWN, reason=f"what it does with {suffix} files is not on record"
        )
    if loader.models is Models.DIFFUSION and is_language_model(adapter):
        return Prediction(loader, Outcome.UNKNOWN, reason=OTHER_MODELS)
    case = case_of(adapter, loader)
    if case is None:
        return Prediction(
            loader, Outcome.UNKNOWN, reason="no behaviour is on record for files of this layout"
        )
    does = case.does
    if isinstance(does, Unsaid):
        return Prediction(loader, Outcome.UNKNOWN, reason=does.why, source=does.source)
    if isinstance(does, Refuses):
        return Prediction(loader, Outcome.REFUSED, reason=does.why, source=does.source)
    if isinstance(does, Skips):
        return _nothing(adapter, loader, does)
    try:
        check_whole(adapter, does)
        pairs, magnitudes = _applied(adapter, does)
    except Refused as error:
        return Prediction(loader, Outcome.REFUSED, reason=str(error), source=does.source)
    except NotKnown as error:
        return Prediction(loader, Outcome.UNKNOWN, reason=str(error), source=does.source)
    if not pairs:
        return Prediction(loader, Outcome.UNKNOWN, reason="no module has a scale", source=does.source)
    found = (_judged_by_names if does.loses_renamed else _judged)(loader, does, pairs)
    found = _besides(adapter, does, found)
    if Magnitude.IGNORED in magnitudes:
        found = _without_norm(found, pairs)
    return _for_some_models(found, does) if does.only else found


def _applied(adapter: Adapter, does: Scales) -> tuple[list[tuple[Module, float]], set[Magnitude]]:
    pairs: list[tuple[Module, float]] = []
    magnitudes: set[Magnitude] = set()
    for module in adapter.modules:
        if module.kind in UNSCALED:
            continue
        if module.scale is None:
            raise NotKnown(f"the trained scale of `{module.name}` can't be said")
        magnitude = magnitude_of(module, does)
        if magnitude is not None:
            magnitudes.add(magnitude)
        pairs.append((module, applied_scale(adapter, module, does)))
    return pairs, magnitudes


def _besides(adapter: Adapter, does: Scales, found: Prediction) -> Prediction:
    """The modules without a scale, where it is not known that the loader applies them too."""
    kinds = {item.kind for item in adapter.modules if item.kind in UNSCALED} - does.as_they_are
    if not kinds:
        return found
    names = ", ".join(sorted(str(kind) for kind in kinds))
    count = sum(item.kind in kinds for item in adapter.modules)
    reason = f"whether it applies modules that are a {names} ({count}) is not on record"
    return dataclasses.replace(found, reason="; ".join(text for text in (found.reason, reason) if text))


def _nothing(adapter: Adapter, loader: Loader, does: Skips) -> Prediction:
    count = len(adapter.modules)
    return Prediction(
        loader, Outcome.NOTHING, 0.0, 0.0, count, count, 0.0,
        reason=f"it applies nothing of the file: {does.why}", source=does.source,
    )  # fmt: skip


def _judged(loader: Loader, does: Scales, pairs: Sequence[tuple[Module, float]]) -> Prediction:
    scales = [applied for _, applied in pairs]
    wrong = [(module, applied) for module, applied in pairs if not _same(applied, module.scale or 0.0)]
    outcome, factor, argument = Outcome.RIGHT, 1.0, loader.argument.format("1.0") if loader.argument else ""
    if wrong:
        outcome = Outcome.WRONG
        factors = [applied / module.scale for module, applied in pairs if module.scale]
        same = len(factors) == len(pairs) and all(_same(item, factors[0]) for item in factors)
        factor = factors[0] if same else math.nan
        # With DoRA, and where nothing is applied, no strength makes up for it.
        repairable = same and factor and loader.argument and not any(module.dora for module, _ in pairs)
        argument = loader.argument.format(f"{1 / factor:.6g}") if repairable else ""
    elif any(module.assumed for module, _ in pairs):
        outcome = Outcome.RIGHT_IF_RANK
    about = does.note
    if does.note_on_ranks and len({module.rank for module, _ in pairs}) > 1:
        about = "; ".join(text for text in (about, does.note_on_ranks) if text)
    if wrong and does.skipped and any(does.skipped in module.name for module, _ in wrong):
        about = "; ".join(text for text in (about, f"`{does.skipped}` loses its alpha") if text)
    if does.squared and not any(module.kind in does.squared for module, _ in pairs):
        about = ""
    note = "; ".join(text for text in (about, loader.note) if text)
    return Prediction(
        loader, outcome, min(scales), max(scales), len(wrong), len(pairs),
        None if math.isnan(factor) else factor, argument, note, does.source,
    )  # fmt: skip


def _judged_by_names(loader: Loader, does: Scales, pairs: Sequence[tuple[Module, float]]) -> Prediction:
    """Each module gets the scale that is found, or 1 where the loader knows it under another name."""
    kept, lost = (
        _judged(loader, does, pairs),
        _judged(loader, does, [(module, 1.0) for module, _ in pairs]),
    )
    if Outcome.WRONG not in (kept.outcome, lost.outcome):
        return dataclasses.replace(kept, reason=loader.note)
    low, high = min(kept.low or 0.0, 1.0), max(kept.high or 0.0, 1.0)
    if kept.outcome is lost.outcome is Outcome.WRONG:
        if kept.low == kept.high == 1.0:
            return dataclasses.replace(kept, reason=loader.note)
        outcome, wrong = Outcome.WRONG, max(kept.wrong, lost.wrong)
    else:
        outcome, wrong = Outcome.DEPENDS, 0
    return Prediction(loader, outcome, low, high, wrong, len(pairs), None, "", does.note, does.source)


def _without_norm(found: Prediction, pairs: Sequence[tuple[Module, float]]) -> Prediction:
    """The factors reach the weight at that scale, but DoRA's norm is not applied."""
    wrong = max(found.wrong, sum(module.dora for module, _ in pairs))
    reason = "it does not read DoRA's magnitude: what it applies is another LoRA than the trained one"
    return dataclasses.replace(
        found, outcome=Outcome.WRONG, wrong=wrong, factor=None, argument="", reason=reason
    )


def _for_some_models(found: Prediction, does: Scales) -> Prediction:
    """Where the names mean nothing for other models, nothing is applied there."""
    reason = f"this holds for {does.only}; for other models it applies nothing of the file"
    wrong = found.outcome is Outcome.WRONG
    return dataclasses.replace(
        found,
        outcome=Outcome.WRONG if wrong else Outcome.DEPENDS,
        low=min(0.0, found.low or 0.0),
        high=max(0.0, found.high or 0.0),
        factor=None,
        reason="; ".join(text for text in (reason, found.reason) if text),
    )


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-12)
