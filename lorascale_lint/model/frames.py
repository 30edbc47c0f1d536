"""Where a term is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from lorascale_lint.facts.terms import Param, Term
from lorascale_lint.model.project import Class, Function


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where a term is evaluated: its function, the class of ``self``, arguments if a call is known.

    ``entered`` are the functions whose calls led here: none is entered twice, so recursion ends.
    """

    function: Function
    self_class: Class | None
    arguments: dict[str, tuple[Term, Frame]] | None = None
    entered: tuple[Function, ...] = ()


def origin(term: Term, frame: Frame) -> tuple[Term, Frame]:
    """Where an argument that is only passed on was first given."""
    while (
        isinstance(term, Param)
        and term.function == frame.function.facts.qualname
        and frame.arguments is not None
        and term.name in frame.arguments
    ):
        term, frame = frame.arguments[term.name]
    return term, frame
