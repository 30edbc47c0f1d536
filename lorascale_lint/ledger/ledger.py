"""The ledger: everything that happened in the code of a project, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, TypeVar

from lorascale_lint.ledger.entries import (
    Apply,
    Ask,
    BiasSum,
    Bind,
    Default,
    DifferenceSum,
    FactorSum,
    FieldRead,
    Fold,
    KeyRead,
    KeyWrite,
    Norm,
    Pattern,
    Product,
    Quotient,
    Rescale,
    Return,
    Rounding,
    Skip,
    Spread,
    Store,
    Trial,
    Unused,
    Use,
)
from lorascale_lint.provenance.values import Multiplied

if TYPE_CHECKING:
    from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo

Made = TypeVar("Made")


@dataclass(slots=True)
class Ledger:
    """Everything that happened, in the order in which it was seen."""

    read_source: Callable[[str], bytes] = lambda _: b""
    """Gives the source of a file, for the codemods."""
    lineage: Callable[[ClassInfo], list[ClassInfo]] = lambda cls: [cls]
    """Gives a class and its bases in the project, nearest first."""
    read_elsewhere: Callable[[str], bool] = lambda _: False
    """Does a file without a word of LoRA read an attribute called so, of something that is no settings?"""
    applies: list[Apply] = field(default_factory=list)
    rescales: list[Rescale] = field(default_factory=list)
    unscales: list[Rescale] = field(default_factory=list)
    """Weights that are divided by a magnitude, over a norm or not: unmerges of DoRA."""
    norms: list[Norm] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    multiplied: list[Multiplied] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    factor_sums: list[FactorSum] = field(default_factory=list)
    bias_sums: list[BiasSum] = field(default_factory=list)
    difference_sums: list[DifferenceSum] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    writes: list[KeyWrite] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    """Of trials only."""
    reads: list[KeyRead] = field(default_factory=list)
    parts: list[KeyRead] = field(default_factory=list)
    """Attributes called as the fields of an adapter's configuration, of what is no object of the project."""
    field_reads: list[FieldRead] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    binds: list[Bind] = field(default_factory=list)
    quotients: list[Quotient] = field(default_factory=list)
    roundings: list[Rounding] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    only_tested: list[Unused] = field(default_factory=list)
    """Parameters that nothing but tests and messages reads; those of ``unused`` are among them."""
    defaults: list[Default] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    fields_read: set[tuple[str, str]] = field(default_factory=set)
    """Attributes that code of the files reads: key of the class (empty for others than ``self``) and
    name."""
    changed: set[FunctionInfo] = field(default_factory=set)
    """Functions of which a decorator makes something else, or something that is not known."""
    crashes: list[tuple[str, str]] = field(default_factory=list)
    """Files, and functions of them on which the engine itself failed."""
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    """Statements, by file and row, that were not followed, and why."""
    bounds: list[str] = field(default_factory=list)
    """Functions for which a bound of work was passed, so that something may be missing."""
    readings: dict[object, object] = field(default_factory=dict)
    """What `once` has made."""

    def once(self, make: Callable[[Ledger], Made]) -> Made:
        """``make(self)``, which is kept for whoever asks the same of this ledger: it must be complete."""
        if make not in self.readings:
            self.readings[make] = make(self)
        return self.readings[make]  # type: ignore[return-value]

    def forget(self, function: FunctionInfo) -> None:
        """Leave out what a function did when it was looked at by itself, for it is looked at again."""
        first, last = function.node.lineno, function.node.end_lineno or function.node.lineno
        steps = {f"{function.file.filename}:{row}" for row in range(first, last + 1)}
        for item in fields(self):
            held = getattr(self, item.name)
            if isinstance(held, list) and item.name not in ("unused", "only_tested", "defaults", "trials"):
                own = [
                    entry
                    for entry in held
                    if (spot := getattr(entry, "spot", None)) is not None
                    and (spot.chain[0] in steps if spot.chain else spot.function is function)
                ]
                dropped = set(map(id, own))
                held[:] = [entry for entry in held if id(entry) not in dropped]

    def add(self, other: Ledger) -> None:
        """Write down, behind what is here, what was seen elsewhere; what `once` made before is made anew."""
        for item in fields(self):
            if item.name == "readings":
                self.readings.clear()
                continue
            mine, others = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, list):
                mine += others
            elif isinstance(mine, set | dict):
                mine.update(others)
