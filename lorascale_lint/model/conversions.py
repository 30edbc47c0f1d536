"""Code that renames the factors of an adapter: what it writes, and whether alpha comes along."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Const,
    Element,
    Event,
    Guard,
    Item,
    Loc,
    Mapping,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_flow import asks_for_alpha, unconverted
from lorascale_lint.model.filled_containers import Place, constants_of, root_of, stored_at
from lorascale_lint.model.looked_up import LookedUp, LookUps
from lorascale_lint.model.project import Function, Project, is_rescaling
from lorascale_lint.model.vocabulary import key_side

_KOHYA_PREFIX = re.compile(r"lora_(?:unet|te\d?|transformer)(?![a-z])")


@dataclass(frozen=True, slots=True, eq=False)
class Renamed:
    """A tensor of an adapter that is written under a new key; ``factor`` where it is known which one."""

    event: Event
    loc: Loc
    key: Term
    value: Term
    guards: tuple[Guard, ...]
    factor: LookedUp | None

    @property
    def skips_alpha(self) -> Guard | None:
        """The condition by which alpha keys do not come here."""
        return next((g for g in self.guards if asks_for_alpha(g.test, not g.holds)), None)


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """Both factors renamed in ``function``, and nothing that could be an alpha beside them."""

    function: Function
    renamed: tuple[Renamed, ...]

    @property
    def source_names(self) -> tuple[str, ...]:
        """Keys by which the factors were looked up."""
        return tuple(dict.fromkeys(item.factor.shown for item in self.renamed if item.factor is not None))


def conversion(project: Project, function: Function) -> Conversion | None:
    """The renaming of both factors in ``function``; None if alpha may be carried over with them."""
    look_ups = LookUps(project)
    renamed = tuple(_renamed(look_ups, function))
    if not {"A", "B"} <= _sides(project, function) and not _names_kohya(project, function, renamed):
        return None
    if not renamed or any(is_rescaling(item.value) for item in renamed):
        return None
    if any(item.factor is None and item.skips_alpha is None for item in renamed):
        return None  # a tensor under any key: it may be the alpha
    renamed = tuple(item for item in renamed if _is_new_key(item, look_ups, function))
    sides = {item.factor.side for item in renamed if item.factor is not None}
    whole = [item for item in renamed if item.factor is None]
    if not whole and sides != {"A", "B"}:
        return None
    return Conversion(function, renamed if sides == {"A", "B"} else tuple(whole))


def _sides(project: Project, function: Function) -> set[str | None]:
    """Factors that literals of ``function``, or constants that it uses, name."""
    events = (*function.facts.events, *constants_of(project, function))
    texts = (term.value for _, term in each_term(events) if isinstance(term, Const))
    return {key_side(text) for text in texts if isinstance(text, str)}


def _names_kohya(project: Project, function: Function, renamed: tuple[Renamed, ...]) -> bool:
    """Do all tensors but the alphas get new names in code that knows the prefixes of kohya's keys?"""
    if not any(item.factor is None and item.skips_alpha is not None for item in renamed):
        return False
    near = project.reachable(function, 1)
    events = [event for item in near for event in (*item.facts.events, *constants_of(project, item))]
    texts = (term.value for _, term in each_term(events) if isinstance(term, Const))
    return any(isinstance(text, str) and _KOHYA_PREFIX.search(text) is not None for text in texts)


def _renamed(look_ups: LookUps, function: Function) -> Iterator[Renamed]:
    place = Place(function)
    for event in function.events("write"):
        if isinstance(event.target, Item) and not isinstance(root_of(event.target), Attr):
            yield from _entry(look_ups, place, event, event.target.key, event.value, event.guards)
    for event, term in each_term(function.events("bind", "return", "call")):
        if isinstance(term, Mapping) and len(term.pairs) == 1:
            (key, value) = term.pairs[0]
            if any(isinstance(part, Element) for part in walk(key)):
                yield from _entry(look_ups, place, event, key, value, (*event.guards, *term.guards))


def _entry(
    look_ups: LookUps, place: Place, event: Event, key: Term, value: Term, guards: tuple[Guard, ...]
) -> Iterator[Renamed]:
    """The write of a tensor of a dictionary of tensors, if it is one."""
    plain = unconverted(value)
    if stored_at(plain) is None and not is_rescaling(plain):
        return
    yield Renamed(event, event.loc, key, plain, guards, look_ups.factor(plain, place, guards))


def _is_new_key(item: Renamed, look_ups: LookUps, function: Function) -> bool:
    """Is the tensor written under a name of a factor, or under a key that is made from its old one?"""
    if item.factor is not None:
        text = look_ups.containers.text(item.key, Place(function))
        return key_side(text) is not None and text != item.factor.shown
    found = stored_at(item.value)
    if found is None or isinstance(item.key, Element | Item):
        return False
    variables = {part.loc for part in walk(item.key) if isinstance(part, Element)}
    return bool(variables) and look_ups.containers.is_known(found[0], Place(function))
