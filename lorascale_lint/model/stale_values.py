"""Alphas that do not belong to the factors they meet: from a former iteration, call or module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Item,
    Loc,
    Not,
    Op,
    Param,
    Term,
    source_text,
    walk,
)
from lorascale_lint.model.applications import Step
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.origins import elements
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.vocabulary import key_role


@dataclass(frozen=True, slots=True, eq=False)
class StaleAlpha:
    """An alpha at ``loc`` that is not the one of the factors which it meets at ``event``."""

    loc: Loc
    event: Event
    message: str
    effect: str
    steps: tuple[Step, ...]
    looked_up: tuple[Choice, Term] | None = None
    """A condition to drop, and the branch of it that looks alpha up."""


def only_if_just_loaded(function: Function) -> Iterator[StaleAlpha]:
    """``alpha = store.get(key) if adapter_updated else None`` beside factors from the same store."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call):
            continue
        arguments = (*call.args, *(value for _, value in call.keywords))
        stores = {source_text(store): factor for factor in arguments for store in _store_of(factor, "A", "B")}
        for argument in arguments:
            if not isinstance(argument, Choice) or argument.test is None or not _is_flag(argument.test):
                continue
            looked_up, missing = _branches(argument)
            if looked_up is None or not isinstance(missing, Const):
                continue
            factor = next(
                (stores[text] for text in map(source_text, _store_of(looked_up, "alpha")) if text in stores),
                None,
            )
            if factor is None or any(guard.test is argument.test for guard in event.guards):
                continue
            name = function.filename
            yield StaleAlpha(
                argument.loc,
                event,
                "alpha is looked up only if the adapter was loaded in this very call",
                effect_of(ONE) + ", after switching back to an adapter",
                (
                    (name, argument.test.loc, "the flag says only whether this call loaded the file"),
                    (name, factor.loc, "the factors are taken from the store in any case"),
                    (name, argument.loc, f"their alpha is {missing.value} for an adapter that was there"),
                    (name, call.loc, "factors and alpha of different calls meet here"),
                ),
                (argument, looked_up),
            )


def _lookups(term: Term, *roles: str) -> Iterator[tuple[Term, Term]]:
    """Container and key of a lookup whose key has one of ``roles``, below conversions."""
    match term:
        case Item(base=base, key=key) if key_role(key_pattern(key)) in roles:
            yield base, key
        case Call(func=Attr(base=base, name="get" | "pop"), args=(key, *_)) if (
            key_role(key_pattern(key)) in roles
        ):
            yield base, key
        case Call(func=Attr(base=base)):
            yield from _lookups(base, *roles)
        case _:
            pass


def _store_of(term: Term, *roles: str) -> Iterator[Term]:
    """The container of a lookup whose key has one of ``roles``."""
    for store, _ in _lookups(term, *roles):
        yield store


def _branches(choice: Choice) -> tuple[Term | None, Term]:
    """The branch that looks alpha up, and the other one."""
    for found, other in ((choice.then, choice.other), (choice.other, choice.then)):
        if any(True for _ in _store_of(found, "alpha")):
            return found, other
    return None, choice.other


def _is_flag(test: Term) -> bool:
    """Is ``test`` a local that is True on some ways of this call and False on others?"""
    while isinstance(test, Not):
        test = test.operand
    leaves: set[object] = set()
    pending: list[Term] = [test]
    while pending:
        term = pending.pop()
        if isinstance(term, Choice):
            pending += [term.then, term.other]
        elif isinstance(term, Const) and isinstance(term.value, bool):
            leaves.add(term.value)
        else:
            return False
    return leaves == {True, False}


@dataclass(frozen=True, slots=True, eq=False)
class LeftOver:
    """An alpha of one entry of an adapter whose loop has ended.

    ``store`` is the dictionary that it was looked up in, by ``variables`` of that loop.
    """

    store: Term
    variables: tuple[Element, ...]
    loc: Loc


def left_over(function: Function) -> Iterator[StaleAlpha]:
    """The alpha of one entry of an adapter, left over from a loop, that meets tensors of another loop."""
    if not any("alpha" in word.lower() for word in function.facts.words):
        return
    for event in function.facts.events:
        for tensors, scale in _pairs(event):
            for alpha in _left_over(scale):
                other = _other_entry(tensors, alpha)
                if other is None:
                    continue
                name = function.filename
                yield StaleAlpha(
                    alpha.loc,
                    event,
                    "the alpha of one module is left over from a loop, and used for other modules",
                    "alpha of the last module / rank instead of each module's own alpha / rank",
                    (
                        (name, alpha.loc, "alpha is that of one entry of the adapter"),
                        (name, other.loc, "the loop has ended, and all entries are gone through again"),
                        (name, event.loc, "each meets the alpha left over, not its own"),
                    ),
                )


def _pairs(event: Event) -> Iterator[tuple[tuple[Term, ...], Term]]:
    """Tensors and a scalar that meet in ``event``: a product, or the arguments of one call."""
    if event.kind == "write" and event.sign in ("*", "/") and event.target is not None:
        yield (event.target,), event.value
    if event.kind == "call" and isinstance(event.value, Call):
        arguments = (*event.value.args, *(value for _, value in event.value.keywords))
        for argument in arguments:
            yield tuple(other for other in arguments if other is not argument), argument
    value = event.value
    if event.kind in ("bind", "return", "write") and isinstance(value, Op) and value.sign in ("*", "/"):
        yield (value.left,), value.right
        yield (value.right,), value.left


def _left_over(scale: Term) -> Iterator[LeftOver]:
    """Alphas of single entries in ``scale`` whose loop has ended."""
    for joined in walk(scale):
        if not isinstance(joined, Choice) or joined.test is not None:  # joined where a loop ends
            continue
        for entry in walk(joined.then):
            for store, key in _lookups(entry, "alpha"):
                if elements(key):
                    yield LeftOver(_root(store), elements(key), entry.loc)


def _other_entry(tensors: tuple[Term, ...], alpha: LeftOver) -> Element | None:
    """A variable of another loop over the same dictionary, or by which its factors are looked up."""
    for part in walk(*tensors):
        keys = [key for store, key in _lookups(part, "A", "B") if _same(_root(store), alpha.store)]
        if isinstance(part, Element) and _same(_root(part.source), alpha.store):
            keys.append(part)
        for key in keys:
            variables = elements(key)
            if variables and not any(variable in alpha.variables for variable in variables):
                return variables[0]
    return None


def _same(left: Term, right: Term) -> bool:
    if left is right:
        return True
    both_parameters = isinstance(left, Param) and isinstance(right, Param)
    return both_parameters and source_text(left) == source_text(right)


def _root(term: Term) -> Term:
    """``d`` of ``tqdm(d.items())`` and ``list(d)``."""
    while isinstance(term, Call):
        if isinstance(term.func, Attr) and term.func.name in ("items", "keys", "copy"):
            term = term.func.base
        elif len(term.args) == 1:
            term = term.args[0]
        else:
            break
    return term
