"""The places where code renormalises a weight to a learned magnitude (DoRA)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Event, Global, Loc, Op, each_term
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function
from lorascale_lint.model.weight_norm import Decomposed, Ratio, WeightNorms

_COMBINES = frozenset("mul mul_ multiply multiply_ div div_ divide divide_".split())


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """``form`` is what the term at ``loc`` computes in ``function``: a magnitude over a norm."""

    function: Function
    loc: Loc
    event: Event
    form: Decomposed | Ratio


def decompositions(model: Model) -> Iterator[Decomposition]:
    """Products and quotients that bring a magnitude and a norm together, in source order."""
    norms = WeightNorms(model.evaluator)
    for function in model.project.functions.values():
        if not norms.speaks_of_dora(function):
            continue
        frame = model.evaluator.frame(function)
        for event, term in each_term(function.facts.events):
            func = term.func if isinstance(term, Call) else None
            named = func.name if isinstance(func, Attr | Global) else ""
            if not (isinstance(term, Op) and term.sign in ("*", "/")) and named not in _COMBINES:
                continue
            for form in norms.forms(term, frame):
                if isinstance(form, Decomposed | Ratio) and form.magnitude:
                    yield Decomposition(function, term.loc, event, form)
