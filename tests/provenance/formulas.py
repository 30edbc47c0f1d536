"""Asks the engine for the formulas of a small program."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.driver import examine


def ledger_of(source: str, others: Mapping[str, str] | None = None) -> Ledger:
    """The ledger of ``source`` as ``layer.py``, beside ``others`` by file name."""
    files = {"layer.py": source, **(others or {})}
    modules = {name: name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in files}
    return examine({name: dedent(text) for name, text in files.items()}, modules, ["layer.py"]).ledger


def formula_of(source: str, others: Mapping[str, str] | None = None) -> list[str]:
    """The formula of each application in ``layer.py`` and the files that it calls, in the order of rows."""
    return [found.formula for found in applications(ledger_of(source, others))]


def formulas_of(files: Mapping[str, str] | str) -> list[str]:
    """The formula of each application in the files of a project, all of which are looked at."""
    sources = {"layer.py": files} if isinstance(files, str) else files
    texts = {name: dedent(text) for name, text in sources.items()}
    modules = {name: name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in texts}
    return [found.formula for found in applications(examine(texts, modules, list(texts)).ledger)]
