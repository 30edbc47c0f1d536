"""What a rule is, and how the rules in ``rules/`` are found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from lorascale_lint.findings import Finding, Severity
    from lorascale_lint.model import Model


class Rule:
    """A small reader of the model; one subclass per file of ``rules/``.

    The subclass's docstring is the rule's page. Its first line is the summary; the sections
    ``## Bad`` and ``## Good`` hold one fenced Python block each and are run as tests.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    fix: ClassVar[Literal["always", "sometimes", "none"]] = "none"

    def check(self, model: Model) -> Iterator[Finding]:
        """Yield a finding for each place of ``model`` that breaks the rule."""
        raise NotImplementedError

    @classmethod
    def page(cls) -> str:
        """The rule's page in Markdown."""
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def summary(cls) -> str:
        """First line of the page."""
        return cls.page().partition("\n")[0]


@cache
def all_rules() -> tuple[Rule, ...]:
    """One instance of every rule, sorted by code."""
    import lorascale_lint.rules as package

    found = [
        member()
        for info in pkgutil.iter_modules(package.__path__)
        for _, member in inspect.getmembers(
            importlib.import_module(f"{package.__name__}.{info.name}"), inspect.isclass
        )
        if issubclass(member, Rule) and member is not Rule and member.__module__.endswith("." + info.name)
    ]
    return tuple(sorted(found, key=lambda rule: rule.code))
