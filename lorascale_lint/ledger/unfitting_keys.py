"""States of an adapter that are saved under longer keys, and loaded as they are."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import is_written, tables
from lorascale_lint.provenance.values import Const, Hole, Place, Text

STATE = ".state_dict()"


@immutable(frozen=True, slots=True, eq=False)
class UnfittingKeys:
    """``written`` puts ``prefix`` before each key of a model's state, and ``load`` gives them to it so."""

    written: KeyWrite
    prefix: str
    load: Use


def unfitting_keys(ledger: Ledger) -> Iterator[UnfittingKeys]:
    """One for each load of a model whose factors are saved under longer keys only."""
    saved: dict[tuple[object, str], list[tuple[KeyWrite, str]]] = {}
    for table in tables(ledger):
        first = table.writes[0]
        found = _key_of_state(first)
        if found is not None and is_written(ledger, table):
            saved.setdefault((first.spot.file, found[0]), []).append((first, found[1]))
    seen: set[object] = set()
    for use in ledger.uses if saved else ():
        ways = saved.get((use.spot.file, use.receiver), [])
        given, strict = use.given.get("0"), use.given.get("strict", use.given.get("1"))
        whole = isinstance(given, Place) and given.made == "state dict"
        if use.called != "load_state_dict" or strict != Const(False) or not whole or not ways:
            continue
        if all(prefix for _, prefix in ways) and use.spot.node not in seen and not use.spot.file.is_test:
            seen.add(use.spot.node)
            yield UnfittingKeys(*ways[0], use)


def _key_of_state(write: KeyWrite) -> tuple[str, str] | None:
    """The model of whose state an entry is, and what stands before its key; None for other entries."""
    parts = write.key.parts if isinstance(write.key, Text) else ()
    match parts:
        case (Hole(name=("key of", str() as state)) as hole,):
            prefix = ""
        case (str() as prefix, Hole(name=("key of", str() as state)) as hole):
            pass
        case _:
            return None
    of_lora = any(map(speaks_of_lora, hole.has)) or speaks_of_lora(prefix)
    return (state.removesuffix(STATE), prefix) if state.endswith(STATE) and of_lora else None
