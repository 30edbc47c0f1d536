"""Which keys of a model's state a filter lets through: its tests are run on the names of fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import SAVES
from lorascale_lint.knowledge.interfaces import WHOLE_STATES, WRITES_TENSORS
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, role_of, words
from lorascale_lint.ledger.conditions import expression
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.magnitudes import Magnitudes
from lorascale_lint.ledger.states import saved_states
from lorascale_lint.ledger.tables import tables
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.marks import LOOP, ROUND
from lorascale_lint.provenance.values import Hole, Ref, Tensor, Text, options

MODULE = "blocks.0.attn.to_q"


@immutable(frozen=True, slots=True)
class FilteredOut:
    """``write`` takes both factors of ``cls`` out of a model's state, and never what ``made`` makes."""

    write: KeyWrite
    cls: ClassInfo
    made: Store
    factors: dict[str, Store]
    saved: bool
    """Is it seen to be for a file?"""


def magnitudes_filtered_out(ledger: Ledger) -> Iterator[FilteredOut]:
    """Filters of a whole state that know a layer's factors and not its learned magnitude."""
    learned = Magnitudes(ledger).made
    for table in tables(ledger) if learned else ():
        first = table.writes[0]
        if len(table.writes) != 1 or first.spot.chain or not _is_of_whole_state(first):
            continue
        for cls, made in learned.items():
            factors = _factors(ledger, cls)
            seen = {side: _passes(first, store.field) for side, store in factors.items()}
            if seen.keys() >= FACTORS and all(seen.values()) and _passes(first, made.field) is False:
                function = first.spot.function
                named = function is not None and not SAVES.isdisjoint(words(function.name))
                written = table.goes_to(WRITES_TENSORS)
                yield FilteredOut(first, cls, made, factors, named or written)
                break


def alphas_filtered_out(ledger: Ledger) -> Iterator[FilteredOut]:
    """Filters of a whole state that know a layer's factors and not the alpha that its state holds."""
    stated = {s.spot.cls: s for s in saved_states(ledger) if role_of(s.field, True) == ALPHA}
    for table in tables(ledger) if stated else ():
        first = table.writes[0]
        if len(table.writes) != 1 or first.spot.chain or not _is_of_whole_state(first):
            continue
        for cls, made in stated.items():
            factors = _factors(ledger, cls) if cls is not None else {}
            seen = [_passes(first, store.field) for store in factors.values()]
            lost = factors.keys() >= FACTORS and all(seen) and _passes(first, made.field) is False
            if cls is not None and lost and table.goes_to(WRITES_TENSORS):
                yield FilteredOut(first, cls, made, factors, saved=True)
                break


def _is_of_whole_state(write: KeyWrite) -> bool:
    parts = write.key.parts if isinstance(write.key, Text) else ()
    names = [str(part.name) for part in parts if isinstance(part, Hole)]
    return any(word in name for name in names for word in WHOLE_STATES) or any(
        name.startswith("('name in'") for name in names
    )


def _factors(ledger: Ledger, cls: ClassInfo) -> dict[str, Store]:
    """The fields that hold a layer's factors, by side."""
    found: dict[str, Store] = {}
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is cls and not store.spot.chain:
            for option in options(store.value):
                if isinstance(option.value, Tensor) and option.value.kind in FACTORS:
                    found.setdefault(option.value.kind, store)
    return found


def _passes(write: KeyWrite, field: str) -> bool | None:
    """Do the conditions of an entry let the key of a field through? None if one can't be told."""
    key = f"{MODULE}.{field}"
    answers: list[bool | None] = []
    for name, holds in write.guards:
        test = None if name.startswith((LOOP, ROUND)) else expression(name)
        if test is not None:
            known = _run(test, key)
            answers.append(None if known is None else known is holds)
    if False in answers:
        return False
    return None if None in answers or not answers else True


def _run(node: ast.expr, key: str) -> bool | None:
    """A test of a key's text, on this key; None for other tests. The one name in it is the key's."""
    match node:
        case ast.BoolOp(op=op, values=values):
            found = [_run(value, key) for value in values]
            decisive = isinstance(op, ast.Or)
            return decisive if decisive in found else None if None in found else not decisive
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            known = _run(operand, key)
            return None if known is None else not known
        case ast.Compare(left=ast.Constant(value=str() as word), ops=[op], comparators=[ast.Name()]):
            return (word in key) is isinstance(op, ast.In) if isinstance(op, ast.In | ast.NotIn) else None
        case ast.Call(func=ast.Attribute(value=ast.Name(), attr="endswith"), args=[given]):
            literals = _texts(given)
            if literals is None:
                return None
            return any(key.endswith(word) or f"{key}.weight".endswith(word) for word in literals)
        case ast.Call(func=ast.Name(id="any" | "all" as how), args=[ast.GeneratorExp() as one]):
            literals = _texts(one.generators[0].iter) if len(one.generators) == 1 else None
            plain = isinstance(one.elt, ast.Compare) and isinstance(one.elt.left, ast.Name)
            if literals is None or not plain or not _asks_for(one):
                return None
            return (any if how == "any" else all)(word in key for word in literals)
        case _:
            return None


def _asks_for(one: ast.GeneratorExp) -> bool:
    """``part in name for part in (...)``."""
    generator, elt = one.generators[0], one.elt
    return (
        isinstance(elt, ast.Compare)
        and isinstance(elt.ops[0], ast.In)
        and not generator.ifs
        and ast.dump(elt.left) == ast.dump(ast.Name(getattr(generator.target, "id", ""), ast.Load()))
    )


def _texts(node: ast.expr) -> list[str] | None:
    """The texts of a literal row, or of one text; None if they are not literals."""
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    found = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return found if len(found) == len(items) else None
