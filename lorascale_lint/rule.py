"""What a rule is, how the rules in ``rules/`` are found, and the codes of the run itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Literal

from lorascale_lint.findings import Confidence, Finding, Repair, Severity, TraceStep

if TYPE_CHECKING:
    from lorascale_lint.facts.terms import Event, Loc
    from lorascale_lint.model import Model


class Explained:
    """A code with a page: the docstring of the subclass, whose first line is the summary."""

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    fix: ClassVar[Literal["always", "sometimes", "none"]] = "none"

    @classmethod
    def page(cls) -> str:
        """The page in Markdown."""
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def summary(cls) -> str:
        """First line of the page."""
        return cls.page().partition("\n")[0]


class Rule(Explained):
    """A small reader of the model; one subclass per file of ``rules/``.

    The sections ``## Bad`` and ``## Good`` of its page hold one fenced Python block each and are run as
    tests.
    """

    def check(self, model: Model) -> Iterator[Finding]:
        """Yield a finding for each place of ``model`` that breaks the rule."""
        raise NotImplementedError

    def finding(
        self,
        model: Model,
        filename: str,
        loc: Loc,
        message: str,
        *,
        event: Event | None = None,
        confidence: Confidence = "high",
        effect: str | None = None,
        trace: Iterable[tuple[str, Loc, str]] = (),
        fix: Repair | None = None,
    ) -> Finding:
        """A finding of this rule; ``event`` is the statement whose rows a suppression may stand on.

        ``confidence`` is medium for what the code makes plausible and does not show: such a finding
        stays unseen without ``--preview``.
        """
        rows = () if event is None else tuple(range(event.row, event.end_row + 1))
        steps = tuple(TraceStep(model.span(name, place), text) for name, place, text in trace)
        span = model.span(filename, loc)
        return Finding(
            self.code,
            self.name,
            message,
            span,
            self.severity,
            confidence,
            effect,
            steps,
            fix,
            suppression_rows=rows,
        )


@cache
def all_rules() -> tuple[Rule, ...]:
    """One instance of every rule, those of other packages too, sorted by code. Raises `PlugInError`."""
    import lorascale_lint.rules as package
    from lorascale_lint.plug_ins import rules_of_plug_ins

    own = [
        member()
        for info in pkgutil.iter_modules(package.__path__)
        for member in rules_in(importlib.import_module(f"{package.__name__}.{info.name}"))
    ]
    return tuple(sorted([*own, *rules_of_plug_ins(own)], key=lambda rule: rule.code))


def rules_in(module: ModuleType) -> list[type[Rule]]:
    """The rules that a module defines."""
    return [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Rule) and member is not Rule and member.__module__ == module.__name__
    ]
