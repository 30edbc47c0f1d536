"""The engine's answer beside the truth."""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from benchmarks.formulas import Branch, Verdict, reported_branches
from benchmarks.generated.code import Mark
from benchmarks.generated.compose import Composed
from benchmarks.generated.scales import Formula, Scenario
from lorascale_lint.cli import cli

NEAR = 3
"""Rows between an application and the place that is reported for it."""
VERDICTS: tuple[Verdict, ...] = ("right", "partly", "unknown", "missed", "wrong")
"""From best to worst; a program has the worst of its applications."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``map`` says about one application, and what that is worth."""

    kind: str
    verdict: Verdict
    reported: tuple[str, ...]
    wanted: str
    kind_agrees: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """One application in the output of ``map``."""

    filename: str
    row: int
    kind: str
    scale: str


def ask(files: Mapping[str, str]) -> list[Reported]:
    """What ``lorascale-lint map --output-format json`` reports about a project."""
    with tempfile.TemporaryDirectory(prefix="generated-") as folder:
        root = Path(folder).resolve()
        (root / "pyproject.toml").touch()
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        result = CliRunner().invoke(cli, ["map", "--output-format", "json", str(root)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return list(_applications(json.loads(result.stdout), files, root))


def _applications(record: Mapping[str, Any], files: Mapping[str, str], root: Path) -> Iterator[Reported]:
    def relative(name: str) -> str:
        return str(Path(name).resolve().relative_to(root))

    for item in record["implementations"]:
        for found in item["applications"]:
            name = relative(found.get("filename", item["filename"]))
            if "filename" not in found:
                name = _file_of(found["method"], found["row"], name, files)
            yield Reported(name, found["row"], found["kind"], found["scale"])
    for item in record["functions"]:
        yield Reported(relative(item["filename"]), item["row"], item["kind"], item["scale"])


def _file_of(method: str, row: int, named: str, files: Mapping[str, str]) -> str:
    """Where a method stands: an implementation gathers the methods of base classes and mixins as well."""
    owner = method.rpartition(".")[0].rpartition(".")[2]
    for name in sorted(files, key=lambda name: name != named):
        for node in ast.walk(ast.parse(files[name])):
            if not isinstance(node, ast.ClassDef) or node.name != owner:
                continue
            if node.lineno <= row <= (node.end_lineno or row):
                return name
    return named


# ---- formulas -----------------------------------------------------------------------------


def _holds(found: Branch, formula: Formula) -> bool:
    powers = {"alpha": formula.alpha, "rank": formula.rank, "strength": formula.strength}
    wanted = Branch(formula.coefficient, frozenset((name, power) for name, power in powers.items() if power))
    learns = any(name == "gate" for name, _ in found.powers)  # nothing does in these programs
    return not learns and wanted in found.readings()


def judge(texts: Sequence[str], scenarios: Sequence[Scenario]) -> Verdict:
    """The verdict on the formulas reported for one application.

    right: all branches, and no other; partly: some of them, or one that is unknown beside them;
    wrong: a branch that never holds.
    """
    if not texts:
        return "missed"
    read = [reported_branches(text) for text in texts]
    known = [branch for branches, _ in read for branch in branches]
    if not all(any(_holds(branch, item.formula) for item in scenarios) for branch in known):
        return "wrong"
    if not known:
        return "unknown"
    left_out = [
        item
        for item in scenarios
        if item.required and not any(_holds(branch, item.formula) for branch in known)
    ]
    return "partly" if left_out or any(unknown for _, unknown in read) else "right"


# ---- programs -----------------------------------------------------------------------------


def compare(composed: Composed) -> tuple[list[Answer], int]:
    """The engine's answer for each application of a program, and how many it reports where there is none."""
    reported = ask(composed.files)
    answers = []
    met: set[Reported] = set()
    for kind, scenarios in composed.scenarios.items():
        marks = [mark for mark in composed.marks if mark.kind == kind]
        found = [item for mark in marks for item in _at(reported, mark, composed.marks)]
        # A factor that is scaled in a row beside it is no answer to what the application's scale is.
        found = [item for item in found if item.kind != "fold"] or found
        met |= set(found)
        texts = tuple(item.scale for item in found)
        wanted = " | ".join(dict.fromkeys(str(item.formula) for item in scenarios if item.required))
        kinds = {"merge", "forward"} if kind in ("merge", "export") else {kind}
        agrees = not found or any(item.kind in kinds for item in found)
        answers.append(Answer(kind, judge(texts, scenarios), texts, wanted, agrees))
    return answers, len(set(reported) - met)


def _at(reported: Sequence[Reported], mark: Mark, marks: Sequence[Mark]) -> list[Reported]:
    """What is reported at a mark, or nearest to it and to no other mark."""
    exact = [item for item in reported if (item.filename, item.row) == (mark.filename, mark.row)]
    if exact:
        return exact
    others = {(other.filename, other.row) for other in marks if other != mark}
    near = [
        item
        for item in reported
        if item.filename == mark.filename
        and abs(item.row - mark.row) <= NEAR
        and (item.filename, item.row) not in others
    ]
    closest = min((abs(item.row - mark.row) for item in near), default=0)
    return [item for item in near if abs(item.row - mark.row) == closest]


def worst(answers: Sequence[Answer]) -> Verdict:
    """The verdict on a program."""
    return max((answer.verdict for answer in answers), key=VERDICTS.index)
