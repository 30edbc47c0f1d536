"""LS220: a setter changes a field that nobody reads, for its value was copied when the object was made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, STRENGTH
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import Number, Ref, Value, options
from lorascale_lint.rule import Rule

Held = tuple[str, str, str]
"""Key and name of the class of an object, and its field."""


class SetterMissesCopy(Rule):
    """Setter of a scale that was copied elsewhere when the object was made

    ## What it finds

    A field for a strength or scale that a setter writes and no code reads, while the constructor gave the
    same number to a part of the object, or multiplied it into another field. The setter reaches neither: a
    loader that sets `alpha` of a layer whose scale was formed when it was made is one.

    ## Why it is wrong

    The number that multiplies the delta is the copy. Setting the field changes nothing, and no error says so.

    ## Effect

    The strength stays what it was when the layer was made, mostly 1.

    ## Bad

    ```python
    from torch import nn


    class Times(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return x * self.scale


    class LoraBranch(nn.Module):
        def __init__(self, linear, rank, alpha, scale=1.0):
            super().__init__()
            self.linear = linear
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.scaling = alpha / rank
            self.scale = scale
            self.times = Times(scale)

        def forward(self, x):
            return self.linear(x) + self.times(self.lora_up(self.lora_down(x)) * self.scaling)


    def set_scale(model, scale):
        for branch in model.modules():
            if isinstance(branch, LoraBranch):
                branch.scale = scale
    ```

    ## Good

    ```python
    from torch import nn


    class Times(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return x * self.scale


    class LoraBranch(nn.Module):
        def __init__(self, linear, rank, alpha, scale=1.0):
            super().__init__()
            self.linear = linear
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.scaling = alpha / rank
            self.scale = scale
            self.times = Times(scale)

        def forward(self, x):
            return self.linear(x) + self.times(self.lora_up(self.lora_down(x)) * self.scaling)


    def set_scale(model, scale):
        for branch in model.modules():
            if isinstance(branch, LoraBranch):
                branch.scale = scale
                branch.times.scale = scale
    ```

    ## Fix safety

    No fix: set the copy too, or let the part read the field of its owner.

    ## Limits

    Silent where any code of the files reads a field of that name on an object of unknown class.

    ## References

    - finegrain-ai/refiners#299
    """

    code = "LS220"
    name = "setter-misses-copy"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Stores of a scale outside the constructor, into a field that is copied there and never read."""
        copies = _copies(ledger)
        busy = _given_on(ledger)
        reset = {(e.spot.function, e.field) for e in ledger.stores if not _constructs(e.spot)}
        for entry in ledger.stores:
            held = _held(entry)
            if held is None or held not in copies or _constructs(entry.spot) or not _is_scale(entry.value):
                continue
            copy, derived = copies[held]
            set_too = (entry.spot.function, derived) in reset
            if busy[entry.spot.function, entry.value] > 1 or set_too or _is_read(ledger, held):
                continue
            yield self.at(
                entry.spot,
                f"`{held[2]}` of `{held[1]}` is set in `{entry.spot.name}` and never read: what multiplies "
                "the delta is a copy from when the object was made",
                trace=[(copy, "here the number is copied"), (entry.spot, "here only the field changes")],
            )


def _copies(ledger: Ledger) -> dict[Held, tuple[Spot, str]]:
    """Fields that a constructor sets to a number that it also puts elsewhere: where, into which field."""
    fields: dict[tuple[object, Value], Held] = {}
    for entry in ledger.stores:
        held = _held(entry)
        if held is not None and _constructs(entry.spot) and not entry.spot.chain and _is_scale(entry.value):
            fields[entry.spot.function, entry.value] = held
    found: dict[Held, tuple[Spot, str]] = {}
    for use in ledger.uses:
        if isinstance(use.callee, ClassInfo) and not use.spot.chain:
            for value in use.given.values():
                held = fields.get((use.spot.function, value))
                if held is not None:
                    found.setdefault(held, (use.spot, ""))
    origins = {(function, getattr(value, "path", "")): held for (function, value), held in fields.items()}
    for entry in ledger.stores:
        if entry.spot.chain or not isinstance(entry.value, Number) or len(entry.value.scale.powers) < 2:
            continue
        for symbol, _ in entry.value.scale.powers:
            held = origins.get((entry.spot.function, symbol.origin))
            if held is not None and entry.field != held[2]:
                found.setdefault(held, (entry.spot, entry.field))
    return found


def _held(entry: Store) -> Held | None:
    if isinstance(entry.owner, Ref) and entry.owner.cls is not None:
        return (entry.owner.cls.key, entry.owner.cls.name, entry.field)
    return None


def _constructs(spot: Spot) -> bool:
    return spot.function is not None and spot.function.name in ("__init__", "__post_init__")


def _is_scale(value: Value) -> bool:
    scales = (scale_of(option.value) for option in options(value))
    symbols = (only_symbol(scale) for scale in scales if scale is not None)
    return any(s is not None and s.role in (ALPHA, MULTIPLIER, SCALING, STRENGTH) for s in symbols)


def _given_on(ledger: Ledger) -> dict[tuple[object, Value], int]:
    """How often each function hands each value on: into fields and into calls."""
    count: dict[tuple[object, Value], int] = defaultdict(int)
    places = set()
    for store in ledger.stores:
        places.add((store.spot.function, store.value, store.spot.row, store.field))
    for use in ledger.uses:
        places.update((use.spot.function, value, use.spot.row, use.name) for value in use.given.values())
    for function, value, _, _ in places:
        count[function, value] += 1
    return count


def _is_read(ledger: Ledger, held: Held) -> bool:
    """Does the class itself, or code that reads it off an object of unknown class, read the field?"""
    return not {("", held[2]), (held[0], held[2])}.isdisjoint(ledger.fields_read)
