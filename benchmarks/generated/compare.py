"""The engine's answer beside the truth."""

from __future__ import annotations

import ast
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from benchmarks.generated.code import Mark
from benchmarks.generated.compose import Composed
from benchmarks.generated.scales import Formula, Scenario
from benchmarks.generated.truth import TRIPLES
from lorascale_lint.cli import cli

NEAR = 3
"""Rows between an application and the place that is reported for it."""
VERDICTS = ("right", "partly", "unknown", "missed", "wrong")
"""From best to worst; a program has the worst of its applications."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``map`` says about one application, and what that is worth."""

    kind: str
    verdict: str
    reported: tuple[str, ...]
    wanted: str


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
        return list(_applications(json.loads(result.stdout), root))


def _applications(record: Mapping[str, Any], root: Path) -> Iterator[Reported]:
    def relative(name: str) -> str:
        return str(Path(name).resolve().relative_to(root))

    for item in record["implementations"]:
        for found in item["applications"]:
            name = relative(found.get("filename", item["filename"]))
            yield Reported(name, found["row"], found["kind"], found["scale"])
    for item in record["functions"]:
        yield Reported(relative(item["filename"]), item["row"], item["kind"], item["scale"])


# ---- formulas -----------------------------------------------------------------------------


def branches(text: str) -> list[str]:
    """The branches of a formula without their conditions."""
    found = []
    for part in text.split(" | "):
        first, _, condition = part.partition(" if ")
        found.append(first.strip())
        if " else " in condition:
            found.append(condition.rsplit(" else ", 1)[1].strip())
    return found


def numbers(text: str) -> list[tuple[float, ...]] | None:
    """Values of one branch at the triples, one tuple for each reading; None if the branch is unknown.

    A stored `scaling` may be alpha / rank or alpha / sqrt(rank).
    """
    try:
        tree = ast.parse(re.sub(r"\^(-?\d+/\d+)", r"**(\1)", text).replace("^", "**"), mode="eval")
    except SyntaxError:
        return None
    if any(isinstance(node, ast.Name) and node.id == "unknown" for node in ast.walk(tree)):
        return None
    code = compile(tree, "<formula>", "eval")
    readings = [1.0, 0.5] if "scaling" in text else [1.0]
    try:
        return [
            tuple(
                float(eval(code, {"__builtins__": {}, **_symbols(alpha, rank, strength, root)}))
                for alpha, rank, strength in TRIPLES
            )
            for root in readings
        ]
    except (NameError, TypeError):
        return None


def _symbols(alpha: float, rank: float, strength: float, root: float) -> dict[str, object]:
    return {
        "alpha": alpha,
        "rank": rank,
        "strength": strength,
        "multiplier": strength,
        "scaling": alpha / rank**root,
        "gate": math.pi,  # nothing learns a gate in these programs
        "sqrt": math.sqrt,
    }


def _equal(found: Sequence[float], formula: Formula) -> bool:
    return all(
        math.isclose(number, formula.value(*triple), rel_tol=1e-6)
        for number, triple in zip(found, TRIPLES, strict=True)
    )


def judge(texts: Sequence[str], scenarios: Sequence[Scenario]) -> str:
    """The verdict on the formulas reported for one application."""
    if not texts:
        return "missed"
    known = []
    unknown = False
    for text in texts:
        for branch in branches(text):
            values = numbers(branch)
            unknown |= values is None
            if values is not None:
                known.append(values)
    if any(
        not any(_equal(reading, scenario.formula) for reading in values for scenario in scenarios)
        for values in known
    ):
        return "wrong"
    if not known:
        return "unknown"
    missing = any(
        not any(_equal(reading, scenario.formula) for values in known for reading in values)
        for scenario in scenarios
        if scenario.required
    )
    return "partly" if unknown or missing else "right"


# ---- programs -----------------------------------------------------------------------------


def compare(composed: Composed) -> list[Answer]:
    """The engine's answer for each application of a program."""
    reported = ask(composed.files)
    answers = []
    for kind, scenarios in composed.scenarios.items():
        marks = [mark for mark in composed.marks if mark.kind == kind]
        texts = tuple(item.scale for mark in marks for item in _at(reported, mark, composed.marks))
        wanted = " | ".join(dict.fromkeys(str(item.formula) for item in scenarios if item.required))
        answers.append(Answer(kind, judge(texts, scenarios), texts, wanted))
    return answers


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


def worst(answers: Sequence[Answer]) -> str:
    """The verdict on a program."""
    return max((answer.verdict for answer in answers), key=VERDICTS.index)
