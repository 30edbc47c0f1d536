"""Findings in public code, confirmed by number.

    python benchmarks/field.py MIRROR [OWNER/NAME ...] [--out ROWS] [--seconds N]

MIRROR holds bare repositories as ``OWNER+NAME/repo``. Of each one the Python files of its newest revision are
put into an empty folder, linted with the default rules, and each finding is run as `check --prove` does: in
child processes that reach no network. Each finding is a line of JSON in ROWS (repositories that are in it are
not run again). A confirmed finding that can be repaired is repaired, and the question put again. Prints the
page docs/field.md: what was confirmed, with repository, revision, row, expected and observed scale, the
command, and the one that prints the patch with what is observed behind it; the counts, and why the others
were not run. A function that several projects have copied is counted once. Nothing of the code is printed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trees import extract, git

from lorascale_lint import engine
from lorascale_lint.config import Configs
from lorascale_lint.findings import Finding, Proof
from lorascale_lint.sources.discovery import discover
from lorascale_lint.verify.harness.places import Scopes
from lorascale_lint.verify.proving.proof import proved
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

_NAMES = re.compile(r"`[^`]*`|'[^']*'|\([^()]*\)|<[^<>]*>|\b\d+(?:\.\d+)?\b")
_WORDS = ("confirmed", "refuted", "not run")
_LONGEST = 70
_HERE = Path(__file__).parent
_COLUMNS = (
    "repository, revision",
    "place",
    "rule",
    "question",
    "expected",
    "observed",
    "alpha, rank",
    "command",
    "patch, and the scale with it",
    "the same function also in",
)
# What this rule finds may be meant: a multiplier that is called alpha.
_CONVENTIONS = frozenset({"LS107"})


@dataclass(frozen=True, slots=True)
class Row:
    """One finding; `code` is "" for a repository without any."""

    repository: str
    revision: str
    code: str = ""
    name: str = ""
    place: str = ""
    proof: Proof | None = None
    patch: str = ""
    """The command that prints it; "" where there is none."""
    patched: str = ""
    """What the question's answer is with it."""
    by: str = ""
    """The revision of this project that looked."""

    @classmethod
    def read(cls, line: str) -> Row:
        """A line of ROWS."""
        data = json.loads(line)
        proof = None if data["proof"] is None else Proof(**data["proof"])
        return cls(**{**data, "proof": proof})


def rows_of(repository: str, mirror: Path, seconds: float) -> Iterator[Row]:
    """The findings in the newest revision. Raises FileNotFoundError where it cannot be had."""
    revision = git(mirror, repository, "rev-parse", "HEAD").decode().strip()
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=_HERE, capture_output=True, check=False
    )
    by = told.stdout.decode().strip()
    with tempfile.TemporaryDirectory() as scratch:
        here = os.getcwd()
        tree = Path(scratch) / repository.rpartition("/")[2]
        tree.mkdir()
        extract(mirror, repository, revision, tree)
        (tree / "pyproject.toml").touch()
        os.chdir(tree)
        try:
            sources = discover([Path(".")], Configs())
            result = engine.lint(sources.targets, sources.context)
            shown = [item for item in result.findings if item.confidence == "high"]
            found = proved(shown, sources, timeout=seconds) if shown else ()
            rows = [
                Row(
                    repository,
                    revision,
                    item.code,
                    item.name,
                    f"{item.span.filename}:{item.span.start.row}",
                    item.proof,
                    *_repaired(item, seconds),
                    by=by,
                )
                for item in found
            ]
        finally:
            os.chdir(here)
    yield from rows or [Row(repository, revision, by=by)]


def _repaired(item: Finding, seconds: float) -> tuple[str, str]:
    """The command for the patch of a confirmed finding, and what is observed with it; the tree stays."""
    proof, fix = item.proof, item.fix
    if proof is None or proof.status != "confirmed" or fix is None:
        return "", ""
    options = [item.span.filename, "--select", item.code]
    options += [] if fix.applicability == "safe" else ["--unsafe-fixes"]
    before = {Path(name): Path(name).read_bytes() for name in fix.filenames}
    (only,) = re.findall(r"--only (\S+)", proof.command) or [""]
    name, _, row = only.rpartition(":")
    if not name or not row.isdecimal():
        return "", ""
    scope = Scopes(Path(name).read_bytes()).at(int(row))
    run = [sys.executable, "-m", "lorascale_lint", "check", *options, "--fix", "--no-cache"]
    try:
        subprocess.run(run, capture_output=True, check=False)
        if all(path.read_bytes() == data for path, data in before.items()):
            return "", ""
        # The repair may have moved the function.
        source = Path(name).read_bytes()
        scopes, rows = Scopes(source), range(1, source.count(b"\n") + 2)
        moved = (at for at in rows if scope and (now := scopes.at(at)) and now.name == scope.name)
        report = run_verify(Path("."), only=f"{name}:{next(moved, row)}", seed=0, timeout=seconds)
        answers = [row for row in report.rows if row.scenario.endswith(f": {proof.question}")]
        judged = [row for row in answers if row.verdict is Verdict.OK]
        wrong = [row for row in answers if row.is_failure]
        first = next(iter((*wrong, *judged, *answers)), None)
        told = "not run" if first is None else f"{first.verdict}"
        if first is not None and first.observed is not None and first.observed == first.observed:
            told += f" {0.0 if abs(first.observed) < 1e-7 else first.observed:.4g}"
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    return f"lorascale-lint {' '.join(options)} --diff", told


_Statement = tuple[str, int]
"""The function that a row lies in, without its comments, and how far below its head."""


def _statement(row: Row, mirror: Path) -> _Statement:
    """Where the finding lies, the same in each copy."""
    name, _, place = row.place.rpartition(":")
    source = git(mirror, row.repository, "cat-file", "blob", f"{row.revision}:{name}")
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and node.lineno <= int(place) <= (node.end_lineno or 0)
    ]
    inner = max(around, key=lambda node: node.lineno, default=None)
    if inner is None:
        return f"{row.repository} {name}", int(place)
    return ast.dump(inner), int(place) - inner.lineno


def _copies(rows: Sequence[Row], mirror: Path) -> list[list[Row]]:
    """Findings in the same statement of the same function, the first of each repository's first."""
    found: dict[_Statement, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.repository, row.place, row.code)):
        found.setdefault(_statement(row, mirror), []).append(row)
    return list(found.values())


def page(rows: Sequence[Row], mirror: Path) -> Iterator[str]:
    """docs/field.md."""
    found = [row for row in rows if row.proof is not None]
    counts = Counter(str(row.proof.status) for row in found if row.proof)
    yield "# Found in public code, confirmed by number"
    yield ""
    yield (
        "Written by `python benchmarks/field.py MIRROR OWNER/NAME ... --out ROWS.jsonl`, which runs "
        "[`check --prove`](prove.md) over the newest revision of public repositories that was at hand. "
        "Scales are those at the alpha and rank beside them. The commands are for the root of a checkout of "
        "that revision."
    )
    yield ""
    repaired = [row for row in found if row.patch]
    right = sum(row.patched.startswith("ok") for row in repaired)
    yield (
        f"The last column has the command that prints the patch, where there is a repair: {len(repaired)} of "
        f"the confirmed ones, with {right} of which the question's answer is right when it is put again."
    )
    yield ""
    yield (
        f"{len({row.repository for row in rows})} repositories, {len(found)} findings of the default rules: "
        + ", ".join(f"{counts[word]} {word}" for word in _WORDS)
        + "."
    )
    looked = Counter(by for by, _ in {(row.by, row.repository) for row in rows})
    yield ""
    yield (
        "Rules and harness are those of "
        + ", ".join(f"{by} ({count} repositories)" for by, count in looked.most_common())
        + "."
    )
    confirmed = _copies([row for row in found if row.proof and row.proof.status == "confirmed"], mirror)
    meant = sum(copies[0].code in _CONVENTIONS for copies in confirmed)
    projects = {row.repository for copies in confirmed for row in copies}
    yield ""
    yield (
        "Copies of one function counted once, and one statement that two rules find as well, "
        f"{len(confirmed)} places are confirmed in {len(projects)} repositories. In {meant} of them alpha "
        f"is not divided by the rank ({', '.join(_CONVENTIONS)}): who calls a plain multiplier alpha "
        "may have meant it, and files for other programs come out wrong. The other "
        f"{len(confirmed) - meant} are no matter of convention."
    )
    refuted = [[row] for row in found if row.proof and row.proof.status == "refuted"]
    for status, chosen in (("confirmed", confirmed), ("refuted", refuted)):
        if chosen:
            yield ""
            yield f"## {status.capitalize()}"
            yield ""
            yield f"| {' | '.join(_COLUMNS)} |"
            yield f"|{'---|' * len(_COLUMNS)}"
            yield from map(_line, chosen)
    yield ""
    yield "## Not run"
    yield ""
    reasons = Counter(
        _short(row.proof.reason) for row in found if row.proof and row.proof.status == "not run"
    )
    yield "| findings | reason |"
    yield "|---|---|"
    yield from (f"| {count} | {reason} |" for reason, count in sorted(reasons.items(), key=_most))


def _line(copies: Sequence[Row]) -> str:
    row, *others = copies
    proof = row.proof
    assert proof is not None
    given = ", ".join(f"{item:g}" for item in (proof.alpha, proof.rank) if item is not None)
    cells = [
        f"{row.repository} {row.revision[:12]}",
        f"`{row.place}`",
        f"{row.code} {row.name}",
        proof.question,
        "" if proof.expected is None else f"{proof.expected:.4g}",
        "" if proof.observed is None else f"{0.0 if abs(proof.observed) < 1e-7 else proof.observed:.4g}",
        given,
        f"`{proof.command}`",
        f"`{row.patch}`: {row.patched}" if row.patch else "",
        ", ".join(dict.fromkeys(f"{item.repository} `{item.place}`" for item in others)),
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _short(reason: str) -> str:
    """Without the names of this code, which would be of no use to others."""
    return " ".join(_NAMES.sub("…", reason).replace("|", "/").split())[:_LONGEST]


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _collected(mirror: Path, names: Iterable[str], out: Path | None, seconds: float) -> Iterator[Row]:
    known = [Row.read(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    yield from known
    done = {row.repository for row in known}
    for name in names:
        if name in done:
            continue
        try:
            rows = list(rows_of(name, mirror, seconds))
        except OSError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        told = Counter(row.proof.status for row in rows if row.proof)
        print(f"{name}: {dict(told)}", file=sys.stderr, flush=True)
        if out is not None:
            with out.open("a") as stream:
                stream.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
        yield from rows


def main() -> int:
    """Run the repositories and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mirror", type=Path)
    parser.add_argument("repositories", nargs="*", metavar="OWNER/NAME")
    parser.add_argument("--out", type=Path, metavar="ROWS")
    parser.add_argument("--seconds", type=float, default=60.0, help="for one question")
    options = parser.parse_args()
    names = options.repositories or sorted(
        folder.parent.name.replace("+", "/", 1) for folder in options.mirror.glob("*+*/repo")
    )
    rows = list(_collected(options.mirror, names, options.out, options.seconds))
    print("\n".join(page(rows, options.mirror)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
