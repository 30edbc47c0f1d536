"""An inspected file as text and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lorascale_lint.adapters.adapter import Adapter, Alike, alike
from lorascale_lint.adapters.answer import answer, by_relevance
from lorascale_lint.adapters.module import AlphaSource, Module
from lorascale_lint.adapters.oddities import Oddity
from lorascale_lint.adapters.predictions import OTHER_MODELS, Outcome, Prediction
from lorascale_lint.knowledge.kinds import Kind
from lorascale_lint.report.terminal import printable

_MOST_ROWS = 12
# What says nothing of a scale has no row of its own.
_IN_A_LINE = (Outcome.NOTHING, Outcome.REFUSED, Outcome.UNKNOWN)
_WIDTH = 110
_SOURCES = {
    AlphaSource.TENSOR: "`.{}` tensors",
    AlphaSource.CONFIG: "`{}` in the settings beside the file",
    AlphaSource.METADATA: "`{}` in the file's metadata",
    AlphaSource.NOWHERE: "nowhere",
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that is said of one file."""

    filename: str
    adapter: Adapter
    oddities: tuple[Oddity, ...]
    predictions: tuple[Prediction, ...]


def number(value: float | None) -> str:
    """A number as short as it can be said."""
    return "unknown" if value is None else f"{value:.6g}"


def summary(adapter: Adapter) -> str:
    """The file in one line."""
    groups = alike(adapter.modules)
    count = len(adapter.modules)
    plural = "module" if count == 1 else "modules"
    if len(groups) == 1:
        equal = "" if count == 1 else ", all equal"
        return f"{_described(groups[0])}, {count} {plural}{equal}"
    kinds = ", ".join(dict.fromkeys(str(group.kind) for group in groups))
    scales = [item.scale for item in adapter.modules if item.scale is not None]
    if not scales:
        return f"{kinds}: trained scale unknown, {count} {plural}"
    if min(scales) == max(scales):
        return f"{kinds}: trained scale {number(scales[0])}, {count} {plural}, ranks or alphas differ"
    return f"{kinds}: trained scale {number(min(scales))} to {number(max(scales))}, {count} {plural}"


def _described(group: Alike) -> str:
    parts = [str(group.kind) + (" with DoRA" if group.dora else "")]
    if group.rank is not None:
        parts.append(f"rank {group.rank}")
    if group.alpha is not None and group.kind not in (Kind.FULL, Kind.OFT):
        remark = " (a placeholder)" if group.alpha == 0 else " (rsLoRA)" if group.rslora else ""
        parts.append(f"alpha {number(group.alpha)}{remark}")
    scale = f"trained scale {number(group.scale)}"
    if group.assumed:
        scale += " if alpha was the rank"
    return f"{', '.join(parts)}: {scale}"


def render_text(inspection: Inspection) -> str:
    """The report of one file for people."""
    adapter = inspection.adapter
    said = answer(adapter, inspection.predictions) if len(inspection.predictions) > 1 else ""
    lines = [
        *_wrapped(f"{inspection.filename}: {said}" if said else inspection.filename, "    "),
        f"  {summary(adapter)}",
        f"  layout: {adapter.convention.title} ({adapter.reason})",
    ]
    if sources := alpha_sources(adapter.modules):
        lines.append(f"  alpha: {sources}")
    groups = alike(adapter.modules)
    if len(groups) > 1:
        lines += [f"    {group.count:>5} × {_described(group)}" for group in groups[:_MOST_ROWS]]
        if len(groups) > _MOST_ROWS:
            rest = len(groups) - _MOST_ROWS
            lines.append(f"    and {rest} other kinds; --output-format json has every module")
    for oddity in inspection.oddities:
        lines += _wrapped(f"  oddity: {oddity.text}{_examples(oddity)}", "    ")
    lines += _predicted(adapter, inspection.predictions)
    return "".join(f"{printable(line)}\n" for line in lines)


def alpha_sources(modules: Sequence[Module]) -> str:
    """Where the file says alpha."""
    found = {
        _SOURCES[item.alpha_source].format(item.alpha_key): None
        for item in modules
        if item.alpha_source is not AlphaSource.NOT_NEEDED
    }
    return ", ".join(found)


def _examples(oddity: Oddity) -> str:
    if not oddity.modules:
        return ""
    count = len(oddity.modules)
    what = "module" if count == 1 else "modules"
    return f" ({count} {what}: `{oddity.modules[0][:200]}`{', ...' if count > 1 else ''})"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _predicted(adapter: Adapter, predictions: Sequence[Prediction]) -> list[str]:
    if len(predictions) == 1:
        return _one(predictions[0])
    ordered = by_relevance(adapter, predictions)
    told = [item for item in ordered if item.outcome not in _IN_A_LINE]
    lines = _table(told)
    for reason in dict.fromkeys(item.reason for item in told if item.reason):
        names = ", ".join(item.loader.title for item in told if item.reason == reason)
        lines += _wrapped(f"  {names}: {reason}", "    ")
    skipped = [item.loader.key for item in ordered if item.outcome is Outcome.NOTHING]
    if skipped:
        lines += _wrapped(f"  skip it, and apply nothing: {', '.join(skipped)}", "    ")
    refused = [item for item in ordered if item.outcome is Outcome.REFUSED]
    for reason in dict.fromkeys(item.reason for item in refused):
        names = ", ".join(item.loader.key for item in refused if item.reason == reason)
        lines += _wrapped(f"  refuse it: {names} ({reason})", "    ")
    unknown = [item for item in ordered if item.outcome is Outcome.UNKNOWN]
    if others := [item for item in unknown if item.reason == OTHER_MODELS]:
        lines.append(f"  not asked: {len(others)} loaders of diffusion models")
    if untold := [item.loader.key for item in unknown if item.reason != OTHER_MODELS]:
        lines += _wrapped(f"  not known for this file: {', '.join(untold)}", "    ")
    return lines


def _one(item: Prediction) -> list[str]:
    """The answer for the one loader that was asked about, with its source."""
    if item.outcome is Outcome.UNKNOWN:
        return _wrapped(f"  {item.loader.title}: not known ({item.reason})", "    ")
    lines = _table([item])
    if item.reason:
        lines += _wrapped(f"  {item.loader.title}: {item.reason}", "    ")
    return lines + _wrapped(f"  source: {item.source}", "    ")


def _table(told: Sequence[Prediction]) -> list[str]:
    if not told:
        return []
    rows = [("loader", "applies", "", "pass")]
    rows += [(item.loader.title, applies(item), judgement(item), argument(item)) for item in told]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  "
        + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


def applies(item: Prediction) -> str:
    """The scale, or the range of scales, that a loader applies."""
    if item.low is None or item.high is None:
        return "-"
    if item.low == item.high:
        return number(item.low)
    return f"{number(item.low)} {'or' if item.outcome is Outcome.DEPENDS else 'to'} {number(item.high)}"


def judgement(item: Prediction) -> str:
    """How that compares with the trained scale."""
    if item.outcome is not Outcome.WRONG:
        return str(item.outcome)
    if item.factor is None:
        return f"wrong for {item.wrong} of {item.count}"
    if item.factor == 0:
        return "wrong: nothing applied"
    return f"wrong: {number(item.factor)} times the trained scale"


def argument(item: Prediction) -> str:
    """What to pass to the loader for the trained scale."""
    if item.outcome is Outcome.NOTHING:
        return "nothing helps"
    if item.outcome is Outcome.WRONG and not item.argument:
        return "no value makes it right" if item.loader.argument else "nothing to pass"
    return item.argument or "-"


def as_json(inspection: Inspection) -> dict[str, Any]:
    """The report of one file for programs."""
    adapter = inspection.adapter
    return {
        "filename": inspection.filename,
        "convention": adapter.convention.name,
        "reason": adapter.reason,
        "summary": summary(adapter),
        "answer": answer(adapter, inspection.predictions),
        "modules": [_module_json(item) for item in adapter.modules],
        "oddities": [
            {"name": item.name, "text": item.text, "modules": list(item.modules)}
            for item in inspection.oddities
        ],
        "loaders": [_prediction_json(item) for item in inspection.predictions],
    }


def _finite(value: float | None) -> float | str | None:
    # JSON has no infinity and no NaN.
    return value if value is None or math.isfinite(value) else str(value)


def _module_json(item: Module) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind.value,
        "rank": item.rank,
        "branches": item.branches,
        "alpha": _finite(item.alpha),
        "alpha_source": item.alpha_source.name.lower(),
        "alpha_key": item.alpha_key or None,
        "rslora": item.rslora,
        "dora": item.dora,
        "scale": item.scale,
        "assumed": item.assumed,
    }


def _prediction_json(item: Prediction) -> dict[str, Any]:
    return {
        "loader": item.loader.key,
        "title": item.loader.title,
        "outcome": item.outcome.name.lower(),
        "scale": None if item.low is None else [item.low, item.high],
        "factor": _finite(item.factor) if item.low is not None else None,
        "wrong_modules": item.wrong,
        "argument": item.argument or None,
        "reason": item.reason or None,
        "source": item.source or None,
    }
