"""What is unusual in an adapter file, and what comes of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.factors import CARRIERS
from lorascale_lint.adapters.formats.format import metadata_stated, tensor_stated
from lorascale_lint.adapters.module import AlphaSource, Module
from lorascale_lint.adapters.patterns import is_harmless
from lorascale_lint.adapters.source import as_number, as_rank
from lorascale_lint.knowledge.kinds import Kind

# ai-toolkit writes 9999999999 as rank and alpha of a full LoKr; in fp16 that is infinite.
_SENTINEL = 1e8
# bfloat16 has 8 significant bits: whole numbers above this are not exact.
_BF16_EXACT = 256
_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Oddity:
    """One unusual thing, in how many modules, and the first of them."""

    name: str
    text: str
    modules: tuple[str, ...] = ()


def find_oddities(adapter: Adapter) -> list[Oddity]:
    """Everything unusual in a file."""
    return [oddity for check in _CHECKS for oddity in check(adapter)]


def _where(name: str, text: str, modules: Iterable[Module]) -> Iterator[Oddity]:
    names = tuple(item.name for item in modules)
    if names:
        yield Oddity(name, text, names)


def _missing(adapter: Adapter) -> Iterator[Oddity]:
    scaled = adapter.scaled
    without = [item for item in scaled if item.assumed and not item.placeholder]
    if without and len(without) < len(scaled):
        text = "no alpha for these modules though others have one; loaders disagree on what that means"
        yield from _where("alpha-missing-in-part", text, without)
    elif without:
        text = "alpha is nowhere in the file: the trained scale is 1 if alpha was the rank, else it is lost"
        yield from _where("alpha-missing", text, without)


def _mixed(adapter: Adapter) -> Iterator[Oddity]:
    scaled = [item for item in adapter.scaled if item.rank]
    ranks = Counter(item.rank for item in scaled)
    config = [item for item in scaled if item.stated.rank is not None and item.rank != item.stated.rank]
    if config:
        ranks_there, ranks_said = ({item.rank for item in config}, {item.stated.rank for item in config})
        text = f"the tensors have rank {_some(ranks_there)}, the settings say {_some(ranks_said)}"
        yield from _where("rank-conflict", text, config)
    alphas = {item.alpha for item in scaled}
    if len(ranks) > 1 and len(alphas) == 1 and not scaled[0].assumed:
        text = f"ranks {_some(ranks)} under one alpha {_number(scaled[0].alpha)}: the scale differs by module"
        yield Oddity("mixed-ranks", text)
    elif len(ranks) > 1 and all(item.assumed for item in scaled):
        yield Oddity(
            "mixed-ranks", f"ranks {_some(ranks)} and no alpha: one alpha for the file can't be right"
        )


def _zero(adapter: Adapter) -> Iterator[Oddity]:
    text = (
        "alpha 0 is a placeholder, for nothing is trained with it: sd-scripts and FastVideo take the rank "
        "for it (scale 1), ComfyUI, A1111 and PEFT apply nothing"
    )
    yield from _where("alpha-zero", text, (item for item in adapter.scaled if item.alpha == 0))
    text = "negative alpha: some converters never end on it"
    negative = (item for item in adapter.scaled if item.alpha is not None and item.alpha < 0)
    yield from _where("alpha-negative", text, negative)


def _extreme(adapter: Adapter) -> Iterator[Oddity]:
    strange = [item for item in adapter.modules if item.alpha is not None and not abs(item.alpha) < _SENTINEL]
    full = [item for item in strange if item.kind is Kind.FULL_LOKR]
    text = "alpha is a sentinel of LoKr with full matrices (scale 1), not to be divided by anything"
    yield from _where("alpha-sentinel", text, full)
    others = [item for item in strange if item.kind is not Kind.FULL_LOKR]
    for infinite in (False, True):
        found = [item for item in others if (not math.isfinite(item.alpha or 0)) == infinite]
        text = f"alpha is {_some(item.alpha for item in found)}: no number to divide by a rank"
        yield from _where("alpha-not-finite" if infinite else "alpha-sentinel", text, found)


def _rounded(adapter: Adapter) -> Iterator[Oddity]:
    given = as_number(adapter.source.metadata.get("ss_network_alpha"))
    for module in adapter.modules:
        tensor = module.factors.tensors.get("alpha") or module.factors.tensors.get("lora_alpha")
        if tensor is None or tensor.dtype != "BF16" or module.alpha is None:
            continue
        if _BF16_EXACT < abs(module.alpha) < _SENTINEL:
            text = f"alpha {_number(module.alpha)} is stored in bfloat16, which has no odd numbers above 256"
            yield Oddity("alpha-rounded", text, (module.name,))
            return
        if given is not None and 0 < abs(module.alpha - given) < abs(given) / 128:
            text = f"alpha {_number(given)} (metadata) was rounded to {_number(module.alpha)} by bfloat16"
            yield Oddity("alpha-rounded", text, (module.name,))
            return


def _conflicts(adapter: Adapter) -> Iterator[Oddity]:
    """Two statements about alpha or rank that can't both be true."""
    metadata = adapter.source.metadata
    lora = [item for item in adapter.scaled if item.kind in (Kind.LORA, Kind.LOHA)]
    given = as_number(metadata.get("ss_network_alpha"))
    alphas = {item.alpha for item in lora if item.alpha_source is AlphaSource.TENSOR}
    rslora = '"rs_lora"' in metadata.get("ss_network_args", "")
    if (
        given is not None
        and alphas
        and not rslora
        and not any(_close(given, item, 1 / 128) for item in alphas)
    ):
        text = f"`ss_network_alpha` is {_number(given)}, the tensors say {_some(alphas)}"
        yield Oddity("alpha-conflict", text)
    dim = as_rank(metadata.get("ss_network_dim"))
    ranks = {item.rank for item in lora if item.rank}
    if dim is not None and ranks and dim not in ranks:
        yield Oddity("rank-conflict", f"`ss_network_dim` is {dim}, the tensors have rank {_some(ranks)}")
    yield from _stated_twice(adapter)


def _stated_twice(adapter: Adapter) -> Iterator[Oddity]:
    file = metadata_stated(adapter.source)
    differing: list[Module] = []
    for module in adapter.scaled:
        stated = [item for item in (tensor_stated(module.factors), file) if item is not None]
        for item in stated:
            if (
                item.alpha is not None
                and module.alpha is not None
                and not _close(item.alpha, module.alpha, _SAME)
            ):
                differing.append(module)
                break
    text = "tensors, metadata and settings name different alphas; the scale here is of the one named first"
    yield from _where("alpha-conflict", text, differing)
    rank = [
        item for item in adapter.modules
        if (number := item.factors.number("lora_rank")) is not None and item.rank and number != item.rank
    ]  # fmt: skip
    yield from _where("rank-conflict", "`lora_rank` is not the rank of the factors", rank)


def _fused(adapter: Adapter) -> Iterator[Oddity]:
    fused = [item for item in adapter.modules if item.branches > 1]
    for count in sorted({item.branches for item in fused}):
        text = (
            f"A holds {count} fused branches: divided by its rows, the scale is 1/{count} of the trained one"
        )
        yield from _where("fused-branches", text, (item for item in fused if item.branches == count))


def _broken(adapter: Adapter) -> Iterator[Oddity]:
    modules = adapter.source.modules
    lone = [name for name in adapter.broken if modules[name].has("down") != modules[name].has("up")]
    bare = [name for name in adapter.broken if not CARRIERS & modules[name].keys.keys()]
    twice = [name for name in adapter.broken if modules[name].twice]
    named = {*lone, *bare, *twice}
    other = [name for name in adapter.broken if name not in named]
    for name, text, found in (
        ("orphan-factor", "one factor without the other", lone),
        ("orphan-alpha", "alpha, rank or magnitude without factors", bare),
        ("factor-twice", "two tensors for one factor, as of two adapters in one file", twice),
        ("misfit", "factors that don't fit each other", other),
    ):
        if found:
            yield Oddity(name, text, tuple(found))
    empty = (item for item in adapter.modules if item.rank == 0)
    yield from _where("rank-zero", "factors of rank 0", empty)
    many = [
        item for item in adapter.modules
        if any(len(values) > 1 for values in item.factors.numbers.values())
    ]  # fmt: skip
    yield from _where("alpha-not-scalar", "alpha is more than one number; their mean is taken", many)
    rest = [name for name in adapter.source.rest if not name.endswith(adapter.convention.besides or ("\0",))]
    if rest:
        text = f"{len(rest)} tensors of no known layout, such as `{rest[0][:200]}`"
        yield Oddity("unknown-tensors", text)


def _patterns(adapter: Adapter) -> Iterator[Oddity]:
    for table in ("alpha_pattern", "rank_pattern"):
        patterns = (adapter.source.config or {}).get(table)
        if isinstance(patterns, dict) and not all(map(is_harmless, patterns)):
            yield Oddity(
                "pattern-not-read", f"`{table}` has a pattern too costly to match, and it was left out"
            )


def _close(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return False
    return one == other or abs(one - other) <= tolerance * max(abs(one), abs(other))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _some(values: Iterable[float | None]) -> str:
    numbers = sorted({value for value in values if value is not None})
    shown = ", ".join(map(_number, numbers[:4]))
    return shown + (f" and {len(numbers) - 4} more" if len(numbers) > 4 else "")


_CHECKS: Sequence[Callable[[Adapter], Iterator[Oddity]]] = (
    _missing, _mixed, _zero, _extreme, _rounded, _conflicts, _fused, _broken, _patterns,
)  # fmt: skip
