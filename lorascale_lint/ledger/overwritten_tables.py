"""Tables of alphas by module whose name is bound to a number."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, role_of
from lorascale_lint.ledger.entries import Bind
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.values import Number, Place, Ref, Text, Value, options


@immutable(frozen=True, slots=True)
class Overwritten:
    """The table ``name`` is ``made`` and ``filled``, and ``replaced`` where it has no entry for a module."""

    name: str
    made: Spot
    filled: Spot
    replaced: Spot


def overwritten_tables(ledger: Ledger) -> Iterator[Overwritten]:
    """Each place once, as the function shows it by itself."""
    made: dict[tuple[object, str], Bind] = {}
    for bind in ledger.binds:
        if bind.spot.chain or bind.spot.file.is_test or role_of(bind.name, True) != ALPHA:
            continue
        key = (bind.spot.function, bind.name)
        if isinstance(bind.value, Ref) and bind.value.kind == "dict":
            made[key] = bind
        elif key in made and _has_no_entry(bind) and all(_is_number(o.value) for o in options(bind.value)):
            filled = _filling(ledger, made[key].value)
            if filled is not None:
                yield Overwritten(bind.name, made[key].spot, filled, bind.spot)


def _has_no_entry(bind: Bind) -> bool:
    """Was the table asked for a key that it does not have?"""
    asked = (f" in {bind.name}@", f" in {bind.name}.keys()@")
    return any(not holds and any(text in name for text in asked) for name, holds in bind.guards)


def _filling(ledger: Ledger, table: Value) -> Spot | None:
    """A write under a computed key."""
    return next(
        (
            write.spot
            for write in ledger.writes
            if write.container == table and not (isinstance(write.key, Text) and write.key.literal)
        ),
        None,
    )


def _is_number(value: Value) -> bool:
    """A number by what it is, and not only by the name that it gets here."""
    if isinstance(value, Number):
        return not value.scale.unknowns()
    return isinstance(value, Place) and value.role in NUMBERS and not value.weak
