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
    from lorascale_lint.ledger.ledger import Ledger
    from lorascale_lint.ledger.spots import Spot


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
    """What must hold, and what to say where it does not; one subclass per file of ``rules/``.

    A rule reads the ledger and nothing else. The sections ``## Bad`` and ``## Good`` of its page hold one
    fenced Python block each and are run as tests.
    """

    yields_to: ClassVar[tuple[str, ...]] = ()
    """Codes that say the same of a statement: where one of them reports it, this rule does not."""

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Yield a finding for each entry of ``ledger`` that breaks the rule."""
        raise NotImplementedError

    def at(
        self,
        spot: Spot,
        message: str,
        *,
        confidence: Confidence = "high",
        effect: str | None = None,
        trace: Iterable[tuple[Spot, str]] = (),
        fix: Repair | None = None,
    ) -> Finding:
        """A finding at ``spot``; ``trace`` tells where the factors came from and where the scale was lost.

        ``confidence`` is medium for what the code makes plausible and does not show.
        """
        first, last = spot.statement if spot.statement != (0, 0) else (spot.row, spot.end_row)
        steps = tuple(TraceStep(place.span, text) for place, text in trace)
        rows = tuple(range(min(first, spot.row), max(last, spot.end_row) + 1))
        return Finding(
            self.code,
            self.name,
            message,
            spot.span,
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
