"""Alphas that a module lacks, written into a file as a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Global,
    Item,
    Logic,
    Not,
    Op,
    Term,
    source_text,
    walk,
)
from lorascale_lint.model.adapter_flow import lookup, unconverted
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.origins import literal_number
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ALPHA
from lorascale_lint.model.vocabulary import is_alpha_key, key_role, number_role


@dataclass(frozen=True, slots=True, eq=False)
class SavedDefault:
    """``event`` writes ``default`` under an alpha's key where ``stored``, the module's alpha, is None."""

    event: Event
    stored: Term
    default: Const


def saved_defaults(function: Function) -> Iterator[SavedDefault]:
    """Writes of an alpha beside both factors, whose value is a number if the module has no alpha."""
    writes = [event for event in function.events("write") if isinstance(event.target, Item)]
    roles = {key_role(key_pattern(event.target.key)) for event in writes if isinstance(event.target, Item)}
    if not {"A", "B", "alpha"} <= roles:
        return
    names = {id(event.value): event.name for event in function.events("bind")}
    for event in writes:
        if isinstance(event.target, Item) and key_role(key_pattern(event.target.key)) == "alpha":
            found = next(_defaults(event, event.value, names), None)
            if found is not None:
                yield found


def _defaults(event: Event, value: Term, names: dict[int, str]) -> Iterator[SavedDefault]:
    for part in _outcomes(value):
        stored: Term | None = None
        default: Const | None = None
        match part:
            case Choice(test=test, then=then, other=other) if test is not None:
                asked = _missing(test)
                if asked is not None:
                    stored, missing = asked
                    default = literal_number(_outcome(then if missing else other))
                    if not any(
                        source_text(item) == source_text(stored) for item in walk(other if missing else then)
                    ):
                        continue
            case Logic(sign="or", left=left, right=right):
                stored, default = unconverted(left), literal_number(right)
            case _:
                pass
        if stored is not None and default is not None and default.value and _is_alpha(stored, names):
            yield SavedDefault(event, stored, default)


def _outcomes(value: Term) -> Iterator[Term]:
    """The value and what it is on each branch, below conversions; not what it is computed from."""
    pending = [value]
    while pending:
        term = pending.pop()
        yield term
        match term:
            case Choice(then=then, other=other):
                pending += [then, other]
            case Call(
                func=Attr(name="tensor" | "as_tensor" | "array") | Global(name="float"), args=(inner, *_)
            ):
                pending.append(inner)
            case Call(func=Attr(base=base)) if unconverted(term) is not term:
                pending.append(base)
            case _:
                pass


def _outcome(term: Term) -> Term:
    """The number inside of ``torch.tensor(1.0, dtype=...)``."""
    return term.args[0] if isinstance(term, Call) and callee_name(term) == "tensor" and term.args else term


def _missing(test: Term) -> tuple[Term, bool] | None:
    """What a test asks to be None, and whether it holds for None."""
    match test:
        case Op(sign="is" | "is not" as sign, left=left, right=Const(value=None)):
            return unconverted(left), sign == "is"
        case Not(operand=operand):
            inner = _missing(operand)
            return None if inner is None else (inner[0], not inner[1])
        case _:
            return None


def _is_alpha(term: Term, names: dict[int, str]) -> bool:
    """Is ``term`` a part of what stands for a module, and called an alpha?"""
    if isinstance(term, Item) and isinstance(term.key, Const) and isinstance(term.key.value, int):
        return number_role(names.get(id(term), ""), True) == ALPHA
    found = lookup(term)
    return found is not None and is_alpha_key(key_pattern(found[1])) and not isinstance(found[0], Global)
