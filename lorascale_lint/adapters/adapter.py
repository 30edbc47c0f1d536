"""An adapter file, understood: convention, modules, oddities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lorascale_lint.adapters.factors import CARRIERS
from lorascale_lint.adapters.formats import FORMATS
from lorascale_lint.adapters.formats.format import Format
from lorascale_lint.adapters.module import AlphaSource, Module, make_module
from lorascale_lint.adapters.source import AdapterSource
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.kinds import Kind

_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class Adapter:
    """What one file holds."""

    source: AdapterSource
    convention: Format
    reason: str
    modules: tuple[Module, ...]
    broken: tuple[str, ...]  # modules of which no delta can be made
    any_alpha: bool  # whether a module has an `.alpha`

    @property
    def scaled(self) -> tuple[Module, ...]:
        """The modules that alpha and rank mean something for."""
        return tuple(item for item in self.modules if item.alpha_source is not AlphaSource.NOT_NEEDED)


@dataclass(frozen=True, slots=True)
class Alike:
    """How many modules have one kind, rank, alpha and scale."""

    kind: Kind
    rank: int | None
    alpha: float | None
    rslora: bool
    dora: bool
    scale: float | None
    assumed: bool
    count: int


def understand(source: AdapterSource) -> Adapter:
    """Recognise the convention of a file and read its modules. Raises InputError if it is none."""
    made = any(CARRIERS & factors.keys.keys() for factors in source.modules.values())
    for convention in FORMATS if made else ():
        reason = convention.recognise(source)
        if reason is not None:
            break
    else:
        raise InputError(f"{source.path}: {_unknown(tuple(source.header.tensors))}")
    modules: list[Module] = []
    broken: list[str] = []
    for factors in source.modules.values():
        module = make_module(factors, convention.stated(source, factors), transposed=convention.transposed)
        if module is None:
            broken.append(factors.name)
        else:
            modules.append(module)
    if not modules:
        raise InputError(f"{source.path}: {_unknown(tuple(source.header.tensors))}")
    any_alpha = any(item.factors.number("alpha") is not None for item in modules)
    return Adapter(source, convention, reason, tuple(modules), tuple(broken), any_alpha)


def _unknown(names: Sequence[str]) -> str:
    if not names:
        return "no tensors in it"
    shown = ", ".join(f"`{name[:200]}`" for name in names[:_SHOWN_NAMES])
    return f"unknown layout: none of {len(names)} tensors makes an adapter; keys such as {shown}"


def alike(modules: Sequence[Module]) -> list[Alike]:
    """The modules by what matters for their scale, most frequent first."""
    counts = Counter(
        (item.kind, item.rank, _hashable(item.alpha), item.rslora, item.dora, item.scale, item.assumed)
        for item in modules
    )
    return [Alike(*values, count) for values, count in counts.most_common()]


_NAN = float("nan")


def _hashable(value: float | None) -> float | None:
    # One NaN for all, or each would be a value of its own.
    return _NAN if value is not None and value != value else value
