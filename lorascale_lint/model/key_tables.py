"""Keys that a table keeps by layer: ``names[layer] = (key, key.replace("lora_B", "lora_A"), alpha_key)``.

A lookup under ``names[layer][1]`` says nothing itself; what the table was filled with does. The key that
another is made from is one of the side that is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lorascale_lint.facts.terms import Attr, Call, Choice, Const, Item, Mapping, Sequence, Term, is_none
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.vocabulary import is_alpha_key, key_side


def table_place(key: Term) -> tuple[Term, int | str] | None:
    """The table and the place in its rows of ``table[layer][place]``."""
    match key:
        case Item(base=Item(base=table), key=Const(value=int(place) | str(place))):
            return table, place
        case _:
            return None


def tabled_role(rows: Iterable[Term], place: int | str) -> str | None:
    """``A``, ``B`` or ``alpha`` if the keys at ``place`` of all rows are such; else None."""
    found = {_role(row, place) for row in rows}
    return found.pop() if len(found) == 1 else None


def _role(row: Term, place: int | str) -> str | None:
    entries: dict[int | str, Term] = {}
    if isinstance(row, Sequence) and not row.repeated:
        entries.update(enumerate(row.items))
    elif isinstance(row, Mapping):
        entries.update((str(key.value), value) for key, value in row.pairs if isinstance(key, Const))
    key = entries.get(place)
    if key is None:
        return None
    for other in entries.values():
        for made_from, old, _ in _replacements(other):
            side = _side(old)
            if made_from is key and side is not None:
                return side
    options = [option for option in _leaves(key) if not is_none(option)]
    roles = {_own_role(option) for option in options}
    return roles.pop() if len(roles) == 1 else None


def _own_role(key: Term) -> str | None:
    replaced = list(_replacements(key))
    if replaced:
        new = {
            _side(term) or ("alpha" if all(map(_names_alpha, _leaves(term))) else None)
            for _, _, term in replaced
        }
        return new.pop() if len(new) == 1 else None
    pattern = key_pattern(key)
    return key_side(pattern) or ("alpha" if is_alpha_key(pattern) else None)


def _replacements(key: Term) -> Iterator[tuple[Term, Term, Term]]:
    """What ``key`` is made from by ``replace``, with what is replaced and by what."""
    while isinstance(key, Call) and isinstance(key.func, Attr) and key.func.name == "replace":
        if len(key.args) < 2:
            return
        yield key.func.base, key.args[0], key.args[1]
        key = key.func.base


def _side(term: Term) -> str | None:
    """The factor that all values of a key part name."""
    sides = {key_side(key_pattern(option)) for option in _leaves(term)}
    return sides.pop() if len(sides) == 1 else None


def _names_alpha(term: Term) -> bool:
    return isinstance(term, Const) and is_alpha_key(str(term.value))


def _leaves(term: Term) -> Iterator[Term]:
    if isinstance(term, Choice):
        yield from _leaves(term.then)
        yield from _leaves(term.other)
    else:
        yield term
