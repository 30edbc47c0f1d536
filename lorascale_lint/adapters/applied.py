"""The scale that a loader applies to one module, as its table of cases says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.module import AlphaSource, Module
from lorascale_lint.adapters.source import as_number, as_rank
from lorascale_lint.knowledge.conventions import METADATA_ALPHA
from lorascale_lint.knowledge.kinds import Kind
from lorascale_lint.knowledge.reading import Divisor, Magnitude, Missing, Scales, Statement, Zero

_PEFT_DEFAULT_ALPHA = 8.0


class Refused(Exception):
    """The loader ends with an error; the text says why."""


class NotKnown(Exception):
    """The table does not say."""


def check_whole(adapter: Adapter, scales: Scales) -> None:
    """Raises Refused or NotKnown for a file that the loader does not read as a whole."""
    if not all(name.startswith(scales.prefix) for name in adapter.source.header.tensors):
        raise NotKnown(f"what it does with names without `{scales.prefix}` is not on record")
    if scales.one_rank and len({module.rank for module in adapter.scaled}) > 1:
        raise Refused("it gives all modules one rank")


def magnitude_of(module: Module, scales: Scales) -> Magnitude | None:
    """What the loader does with a module's magnitude; None if there is none. Raises NotKnown or Refused."""
    if not module.dora:
        return None
    roles = {"dora_scale", "lora_magnitude_vector", "magnitude"} & module.factors.keys.keys()
    role = min(roles, default="lora_magnitude_vector")
    found = dict(scales.magnitudes).get(role)
    if found is None:
        raise NotKnown(f"what it does with DoRA's `.{role}` is not on record")
    if found is Magnitude.REFUSED:
        raise Refused("it refuses DoRA")
    return found


def applied_scale(adapter: Adapter, module: Module, scales: Scales) -> float:
    """What multiplies B @ A. Raises Refused or NotKnown."""
    if module.kind not in scales.kinds:
        raise NotKnown(f"no behaviour is on record for {module.kind} (`{module.name}`)")
    if module.tucker and not scales.cores:
        raise NotKnown(f"what it does with the core tensor of `{module.name}` is not on record")
    if not scales.alpha:
        return 1.0
    if scales.skipped and scales.skipped in module.name:
        return 1.0
    stated = module.alpha_source in (AlphaSource.CONFIG, AlphaSource.METADATA)
    if Statement.STATED in scales.alpha and stated:
        return _at_zero(scales) if module.placeholder else module.scale or 0.0
    if module.kind is Kind.FULL_LOKR:
        return 1.0
    return _scale(adapter, module, scales, *_found(adapter, module, scales))


def _at_zero(scales: Scales) -> float:
    return 1.0 if scales.zero is Zero.ONE else 0.0


def _found(adapter: Adapter, module: Module, scales: Scales) -> tuple[float | None, float | None]:
    """The alpha, or the scale, that the loader finds."""
    for place in scales.alpha:
        if place is Statement.GLOBAL:
            return as_number((adapter.source.config or {}).get("lora_alpha")), None
        if place is Statement.METADATA:
            given = (as_number(adapter.source.metadata.get(key)) for key in METADATA_ALPHA)
            return next((item for item in given if item is not None), None), None
        if place is Statement.STATED:
            continue
        value = module.factors.number(place.value)
        if value is not None:
            direct = place in (Statement.ALPHA_SCALE, Statement.SCALE)
            return (None, value) if direct else (value, None)
    return None, None


def _scale(
    adapter: Adapter, module: Module, scales: Scales, alpha: float | None, direct: float | None
) -> float:
    if direct is not None:
        return direct
    if alpha is None:
        return _without_alpha(adapter, module, scales)
    if not math.isfinite(alpha):
        raise NotKnown(f"alpha of `{module.name}` is not finite")
    if scales.whole:
        alpha = float(int(alpha))
    if alpha == 0:
        return _at_zero(scales)
    config: Mapping[str, Any] = adapter.source.config or {}
    divisor = {
        Divisor.ROWS: (module.rank or 0) * module.branches,
        Divisor.COLUMNS: module.rank or 0,
        Divisor.SETTINGS: as_rank(config.get("r")) or 0,
    }[scales.divisor]
    if not divisor:
        raise NotKnown(f"`{module.name}` has no rank to divide by")
    rslora = scales.rslora and Statement.GLOBAL in scales.alpha and config.get("use_rslora") is True
    scale = alpha / (math.sqrt(divisor) if rslora else divisor)
    return scale * scale if module.kind in scales.squared else scale


def _without_alpha(adapter: Adapter, module: Module, scales: Scales) -> float:
    if scales.missing is Missing.REFUSED:
        raise Refused(f"it needs an alpha, and `{module.name}` has none")
    if scales.missing is Missing.RANK_IF_NONE_HAS_IT:
        # Of whatever kind: one alpha found changes what is taken for the others.
        if any(
            module.factors.number(place.value) is not None
            for module in adapter.modules
            for place in scales.alpha
        ):
            raise NotKnown("some modules have an alpha and some have none: it depends on the model")
        return 1.0
    if scales.missing is Missing.DEFAULT_8:
        return _PEFT_DEFAULT_ALPHA / module.rank if module.rank else 1.0
    return 1.0
