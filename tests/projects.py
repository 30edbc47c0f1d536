"""Small projects in memory and on disk, for the tests of the analysis stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from textwrap import dedent

from lorascale_lint.engine import LintResult, lint
from lorascale_lint.facts.extract import MODULE, extract_facts
from lorascale_lint.facts.terms import Event, FunctionFacts, Term
from lorascale_lint.findings import Finding
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.model import Model, build_model
from lorascale_lint.model.applications import Application
from lorascale_lint.model.state import AttributeState, state_attributes
from lorascale_lint.report.content import Report


def model_of(files: Mapping[str, str] | str, *, for_map: bool = False) -> Model:
    """The linked model of sources by path, as rules or `map` see it; one source alone is ``layer.py``."""
    sources = {"layer.py": files} if isinstance(files, str) else files
    texts = {name: dedent(text) for name, text in sources.items()}
    modules = {name: _module(name) for name in texts}
    origins = {name: name.removesuffix(".py").replace("/", ".") for name in texts}
    facts = {name: extract_facts(text, origins[name]) for name, text in texts.items()}
    return build_model(facts, modules, lambda name: texts[name].encode(), for_map=for_map)


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def the_application(files: Mapping[str, str] | str) -> Application:
    """The only application of a project."""
    (found,) = model_of(files).applications
    return found


def the_state(files: Mapping[str, str] | str, cls: str, name: str) -> AttributeState:
    """The state of attribute ``name`` of the class called ``cls``."""
    model = model_of(files)
    (owner,) = (item for item in model.project.classes.values() if item.name == cls)
    (state,) = (item for item in state_attributes(model.project, owner) if item.name == name)
    return state


def function_of(source: str, name: str = "f") -> FunctionFacts:
    """The facts of the function ``name`` of ``source``; the module's own for an empty name."""
    facts = extract_facts(dedent(source))
    (found,) = (item for item in facts.functions if item.qualname == (name or MODULE))
    return found


def returned(source: str, name: str = "f") -> Term:
    """What the only return statement of a function returns."""
    (event,) = events(source, "return", name)
    return event.value


def events(source: str, kind: str, name: str = "f") -> list[Event]:
    """Events of one kind, in source order."""
    return [event for event in function_of(source, name).events if event.kind == kind]


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write sources into ``folder``, which becomes a project of its own; the paths in order."""
    (folder / "pyproject.toml").touch()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text), newline="")
    return [folder / name for name in files]


def lint_files(
    folder: Path, files: Mapping[str, str], *, codes: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Findings of all rules in sources on disk, of which none may fail to parse."""
    result = lint(write_files(folder, files), [], codes=codes)
    assert result.failures == ()
    return result.findings


def fix_files(
    folder: Path, files: Mapping[str, str], *, codes: Collection[str] | None = None, unsafe: bool = False
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Sources on disk after all rounds of fixes, by name, and the findings of all rules that are left.

    Fails if a fix does not parse, is not usable, or does not come to an end.
    """
    paths = write_files(folder, files)

    def check(overlay: Mapping[Path, bytes]) -> Report:
        return Report(lint(paths, [], overlay=overlay, codes=codes).findings)

    outcome = apply_fixes(check, dict.fromkeys(paths), unsafe=unsafe)
    assert outcome.report.failures == ()
    after = {change.path: change.after for group in outcome.groups for change in group}
    texts = {name: after.get(folder / name, (folder / name).read_bytes()).decode() for name in files}
    return texts, lint(paths, [], overlay=after).findings


def places(result: LintResult | Collection[Finding], folder: Path) -> list[tuple[str, int, str]]:
    """Findings as (file, row, code), sorted."""
    found = result.findings if isinstance(result, LintResult) else result
    return sorted(
        (Path(item.span.filename).relative_to(folder).as_posix(), item.span.start.row, item.code)
        for item in found
    )
