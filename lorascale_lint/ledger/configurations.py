"""Configurations of adapters: which numbers come from one, which are written into one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    ALPHA_FIELD,
    CALLED_CONFIGURATIONS,
    CONFIGURATIONS,
    RANK_FIELD,
)
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of, words
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Place, Value, options


@immutable(frozen=True, slots=True)
class Setting:
    """A number in a role that is stored, written under a key, or given to a call."""

    spot: Spot
    scale: Scale


def configuration_of(symbol: Symbol) -> str | None:
    """``self.peft_config[x]`` of ``self.peft_config[x].lora_alpha``; None for anything else."""
    owner, dot, _ = symbol.origin.rpartition(".")
    if not dot:
        owner = symbol.origin.rpartition("[")[0]  # config["lora_alpha"]
    return owner if is_configuration(owner) else None


def is_called_a_configuration(symbol: Symbol) -> bool:
    """Is it ``config.lora_alpha`` or ``config.r``, as peft calls them, of whatever adapter comes in?"""
    owner, _, name = symbol.origin.rpartition(".")
    last = words(owner.removesuffix("()").rpartition(".")[2])[-1:]
    return name in (ALPHA_FIELD, RANK_FIELD) and not CALLED_CONFIGURATIONS.isdisjoint(last)


def owner_in_peft(symbol: Symbol) -> str | None:
    """The owner of a field by peft's name: a configuration by its name, or what ``from_pretrained`` gave."""
    known = configuration_of(symbol)
    if known is not None or not is_called_a_configuration(symbol):
        return known
    return symbol.origin.rpartition(".")[0]


def is_configuration(path: str) -> bool:
    """Is what is called ``path`` a configuration of an adapter, or one of several?"""
    return path.partition("[")[0].rpartition(".")[2] in CONFIGURATIONS


def declared_fields(ledger: Ledger, spot: Spot) -> frozenset[str] | None:
    """Fields of the adapters' configurations that this file defines, or its folder; None: none in sight."""
    folder = PurePath(spot.file.filename).parent
    beside = {
        item.spot.file for item in ledger.defaults if PurePath(item.spot.file.filename).parent == folder
    }
    for files in ({spot.file}, beside):
        fields = [_fields(ledger, cls) for file in files for cls in file.classes.values()]
        known = [names for names in fields if {ALPHA, RANK} <= {role_of(name, True) for name in names}]
        if known:
            return frozenset().union(*known)
    return None


def _fields(ledger: Ledger, cls: ClassInfo) -> frozenset[str]:
    return frozenset(name for base in ledger.lineage(cls) for name in base.attributes)


def settings(look: Look, role: str) -> Iterator[Setting]:
    """Every number in ``role`` that the function sets somewhere, each alternative by itself."""
    for store in look.stores:
        if role_of(store.field, True) == role:
            yield from _settings(store.spot, store.value)
    for write in look.writes:
        table = write.container.path.rpartition(".")[2] if isinstance(write.container, Place) else ""
        if key_role_of(write.key) == role or (table.endswith("_pattern") and role_of(table, True) == role):
            yield from _settings(write.spot, write.value)
    for use in look.uses:
        for name, value in use.given.items():
            if not name.isdigit() and role_of(name, True) == role:
                yield from _settings(use.spot, value)


def _settings(spot: Spot, value: Value) -> Iterator[Setting]:
    for option in options(value):
        scale = scale_of(option.value)
        if scale is not None:
            yield Setting(spot, scale)
