"""Sums of base and delta that are multiplied as a whole: ``(base(x) + delta) * scale``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Event, Global, Loc, Op, Term, walk
from lorascale_lint.model.applications import Application
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.multiplications import DROPOUT, KEEPS, WRAPPERS
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ONE, Scale
from lorascale_lint.model.values import Number


@dataclass(frozen=True, slots=True, eq=False)
class ScaledSum:
    """The sum of ``application``, multiplied by ``scale`` at ``loc``; ``term`` is the outermost scalar."""

    application: Application
    event: Event
    loc: Loc
    term: Term
    scale: Scale


def find_scaled_sums(
    evaluator: Evaluator, function: Function, applications: tuple[Application, ...]
) -> Iterator[ScaledSum]:
    """Products in ``function`` of a number and one of its applications, the outermost first."""
    frame = evaluator.frame(function)
    sums = {application.loc: application for application in applications}
    found: set[Loc] = set()
    for event in function.events("return", "write", "bind"):
        for term in walk(event.value):
            if not (isinstance(term, Op) and term.sign == "*"):
                continue
            inner, scale, outermost = _peeled(evaluator, frame, term)
            application = sums.get(inner.loc)
            if application is not None and outermost is not None and inner.loc not in found:
                found.add(inner.loc)
                yield ScaledSum(application, event, term.loc, outermost, scale)


def _peeled(evaluator: Evaluator, frame: Frame, term: Term) -> tuple[Term, Scale, Term | None]:
    """What is left of a product without its numbers, dropout and conversions; the product of the numbers."""
    scale, outermost = ONE, None
    while True:
        if isinstance(term, Op) and term.sign == "*":
            for scalar, other in ((term.right, term.left), (term.left, term.right)):
                value = evaluator.single(scalar, frame)
                trained = [
                    a.value.scale
                    for a in evaluator.values(scalar, frame)
                    if isinstance(a.value, Number) and a.value.scale.is_trained
                ]
                if isinstance(value, Number) or trained:
                    scale *= trained[0] if trained else value.scale if isinstance(value, Number) else ONE
                    outermost = scalar if outermost is None or trained else outermost
                    term = other
                    break
            else:
                return term, scale, outermost
        elif isinstance(term, Call):
            name = term.func.name if isinstance(term.func, Attr | Global) else ""
            if (DROPOUT.fullmatch(name) and term.args) or (name in WRAPPERS and term.args):
                term = term.args[0]
            elif name in KEEPS and isinstance(term.func, Attr):
                term = term.func.base
            else:
                return term, scale, outermost
        else:
            return term, scale, outermost
