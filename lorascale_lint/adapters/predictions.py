"""The scale that each loader will apply to a file, and the argument to pass for the trained one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.loaders import Divisor, Ignored, Loader, Missing, Reading, Statement, Zero
from lorascale_lint.adapters.module import UNSCALED, AlphaSource, Kind, Module
from lorascale_lint.adapters.source import as_number, as_rank

_SAME = 1e-3  # a bfloat16 alpha is only known to about three digits
_PEFT_DEFAULT_ALPHA = 8.0


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


class _Refused(Exception):
    """The loader ends with an error; the text says why."""


class _NotKnown(Exception):
    """The table does not say."""


def predict(adapter: Adapter, loader: Loader) -> Prediction:
    """The scale that a loader applies to the modules of a file."""
    for ignored in loader.ignored:
        if _is_ignored(adapter, ignored):
            reason = "it skips names such as these, and applies nothing of the file"
            count = len(adapter.modules)
            return Prediction(
                loader, Outcome.NOTHING, 0.0, 0.0, count, count, 0.0, reason=reason, source=ignored.source
            )
    reading = next((item for item in loader.readings if adapter.convention.name in item.conventions), None)
    if reading is None:
        return Prediction(
            loader, Outcome.UNKNOWN, reason="no behaviour is on record for files of this layout"
        )
    pairs: list[tuple[Module, float]] = []
    try:
        _read(adapter, reading)
        for module in adapter.modules:
            if module.kind in UNSCALED:
                continue
            if module.scale is None:
                raise _NotKnown(f"the trained scale of `{module.name}` can't be said")
            pairs.append((module, _applied(adapter, module, reading)))
    except _Refused as error:
        return Prediction(loader, Outcome.REFUSED, reason=str(error), source=reading.source)
    except _NotKnown as error:
        return Prediction(loader, Outcome.UNKNOWN, reason=str(error), source=reading.source)
    if not pairs:
        return Prediction(loader, Outcome.UNKNOWN, reason="no module has a scale", source=reading.source)
    return (_judged_by_names if reading.loses_renamed else _judged)(loader, reading, pairs)


def _is_ignored(adapter: Adapter, ignored: Ignored) -> bool:
    return adapter.convention.name in ignored.conventions and all(
        item.name.startswith(ignored.prefix)
        and (ignored.spellings is None or item.spelling in ignored.spellings)
        and item.scale != 0
        for item in adapter.modules
    )


def _read(adapter: Adapter, reading: Reading) -> None:
    """Raises _Refused or _NotKnown for a file that the loader does not read as a whole."""
    if reading.file_name and adapter.source.path.name != reading.file_name:
        raise _Refused(f"it looks for {reading.file_name}, and this is {adapter.source.path.name}")
    if not all(name.startswith(reading.prefix) for name in adapter.source.header.tensors):
        raise _NotKnown(f"what it does with names without `{reading.prefix}` is not on record")
    if reading.one_rank and len({module.rank for module in adapter.scaled}) > 1:
        raise _Refused("it gives all modules one rank")
    if reading.with_alpha and adapter.any_alpha:
        raise _NotKnown(reading.with_alpha)


def _judged(loader: Loader, reading: Reading, pairs: list[tuple[Module, float]]) -> Prediction:
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
    about = reading.note
    if reading.squared and not any(module.kind in reading.squared for module, _ in pairs):
        about = ""
    note = "; ".join(text for text in (about, loader.note) if text)
    return Prediction(
        loader, outcome, min(scales), max(scales), len(wrong), len(pairs),
        None if math.isnan(factor) else factor, argument, note, reading.source,
    )  # fmt: skip


def _judged_by_names(loader: Loader, reading: Reading, pairs: list[tuple[Module, float]]) -> Prediction:
    """Each module gets the scale that is found, or 1 where the loader knows it under another name."""
    kept, lost = (
        _judged(loader, reading, pairs),
        _judged(loader, reading, [(module, 1.0) for module, _ in pairs]),
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
    return Prediction(loader, outcome, low, high, wrong, len(pairs), None, "", reading.note, reading.source)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-12)


def _applied(adapter: Adapter, module: Module, reading: Reading) -> float:
    if module.kind not in reading.kinds:
        raise _NotKnown(f"no behaviour is on record for {module.kind} (`{module.name}`)")
    low_rank = module.factors.has("down", "up")
    if low_rank and reading.spellings is not None and module.spelling not in reading.spellings:
        raise _NotKnown(f"it does not read `{module.spelling}`")
    if module.dora and not reading.dora:
        if reading.dora is False:
            raise _Refused("it refuses DoRA")
        raise _NotKnown("what it does with DoRA is not on record")
    if not reading.alpha:
        return 1.0
    if reading.skipped and reading.skipped in module.name:
        return 1.0
    if Statement.STATED in reading.alpha and module.alpha_source in (
        AlphaSource.CONFIG,
        AlphaSource.METADATA,
    ):
        return module.scale or 0.0
    if module.kind is Kind.FULL_LOKR:
        return 1.0
    return _scale(adapter, module, reading, *_found(adapter, module, reading))


def _found(adapter: Adapter, module: Module, reading: Reading) -> tuple[float | None, float | None]:
    """The alpha, or the scale, that the loader finds."""
    for place in reading.alpha:
        if place is Statement.GLOBAL:
            return as_number((adapter.source.config or {}).get("lora_alpha")), None
        if place is Statement.STATED:
            continue
        value = module.factors.number(place.value)
        if value is not None:
            direct = place in (Statement.ALPHA_SCALE, Statement.SCALE)
            return (None, value) if direct else (value, None)
    return None, None


def _scale(
    adapter: Adapter, module: Module, reading: Reading, alpha: float | None, direct: float | None
) -> float:
    if direct is not None:
        return direct
    if alpha is None:
        return _without_alpha(adapter, module, reading)
    if not math.isfinite(alpha):
        raise _NotKnown(f"alpha of `{module.name}` is not finite")
    if reading.whole:
        alpha = float(int(alpha))
    if alpha == 0:
        return 1.0 if reading.zero is Zero.ONE else 0.0
    config: Mapping[str, Any] = adapter.source.config or {}
    divisor = {
        Divisor.ROWS: (module.rank or 0) * module.branches,
        Divisor.COLUMNS: module.rank or 0,
        Divisor.SETTINGS: as_rank(config.get("r")) or 0,
    }[reading.divisor]
    if not divisor:
        raise _NotKnown(f"`{module.name}` has no rank to divide by")
    rslora = reading.rslora and Statement.GLOBAL in reading.alpha and config.get("use_rslora") is True
    scale = alpha / (math.sqrt(divisor) if rslora else divisor)
    return scale * scale if module.kind in reading.squared else scale


def _without_alpha(adapter: Adapter, module: Module, reading: Reading) -> float:
    if reading.missing is Missing.REFUSED:
        raise _Refused(f"it needs an alpha, and `{module.name}` has none")
    if reading.missing is Missing.RANK_IF_NONE_HAS_IT:
        if adapter.any_alpha:
            raise _NotKnown("some modules have an alpha and some have none: it depends on the model")
        return 1.0
    if reading.missing is Missing.DEFAULT_8:
        return _PEFT_DEFAULT_ALPHA / module.rank if module.rank else 1.0
    return 1.0
