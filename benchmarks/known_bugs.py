"""Recall on real bugs: ``python benchmarks/known_bugs.py bugs.jsonl CLONES [--hold-out REPO ...]``.

``bugs.jsonl`` lists bugs and clean files, a JSON object a line (``kind``, ``id``, ``repo``, ``path``, then
``class``, ``buggy_rev``, ``fixed_rev``, ``fixed_path`` and ``lines``, or ``rev`` for a clean file). A line
without a kind is a bug; ``mechanism`` may stand for the class, and ``rev`` for ``buggy_rev``.
``CLONES`` holds a git repository for each ``owner/name``, as ``owner+name`` (bare or not, also with the git
directory one level down). A bug is found if a finding, or a step of its trace, is within 3 lines of a listed
line of its file. Files of the same top folder that speak of LoRA are read for linking, as they are when a
project is linted; with ``--alone`` each file is all there is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding

TOLERANCE = 3
"""Lines between a listed line and a finding that is about it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list: a bug, or a file that must stay silent."""

    name: str
    repository: str
    revision: str
    path: str
    kind: str
    group: str
    lines: tuple[int, ...]
    fixed_revision: str | None
    fixed_path: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the linter said about one bug: was it found, and is the fixed file silent for those rules?"""

    entry: Entry
    codes: frozenset[str]
    silent_after_fix: bool | None


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of the list."""
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        kind = row.get("kind", "bug")
        yield Entry(
            row.get("id") or f"{row['repo']}-{row['path']}-{row['lines'][0]}",
            row["repo"],
            row.get("buggy_rev") or row["rev"],
            row["path"],
            kind,
            row.get("class") or row.get("mechanism") or kind,
            tuple(row.get("lines", ())),
            row.get("fixed_rev"),
            row.get("fixed_path") or row["path"],
        )


def git_directory(clones: Path, repository: str) -> Path | None:
    """The git directory of a clone, if there is one."""
    folder = clones / repository.replace("/", "+")
    for candidate in (folder, folder / ".git", folder / "repo", folder / "repo" / ".git"):
        if (candidate / "HEAD").is_file():
            return candidate
    return None


def checkout(git: Path, revision: str, path: str, folder: Path, *, alone: bool) -> bool:
    """Write ``path`` and the LoRA files of its top folder at ``revision`` below ``folder``."""
    top = path.split("/", 1)[0] if "/" in path else ":(glob)*.py"
    listed = subprocess.run(
        ["git", "--git-dir", str(git), "grep", "-Ili", "lora", revision, "--", top],
        capture_output=True,
        text=True,
        check=False,
    )
    beside = {line.partition(":")[2] for line in listed.stdout.splitlines() if line.endswith(".py")}
    for name in sorted({path} if alone else {path, *beside}):
        blob = subprocess.run(
            ["git", "--git-dir", str(git), "show", f"{revision}:{name}"], capture_output=True, check=False
        )
        if blob.returncode == 0:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(blob.stdout)
    return (folder / path).is_file()


def findings_at(git: Path, revision: str, path: str, *, alone: bool) -> tuple[Finding, ...] | None:
    """Findings in the project around one file; None if the revision is not in the clone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not checkout(git, revision, path, folder, alone=alone):
            return None
        found = lint(sorted(folder.rglob("*.py")), []).findings
        return tuple(finding for finding in found if _touches(finding, path))


def _touches(finding: Finding, path: str) -> bool:
    places = [finding.span, *(step.span for step in finding.trace)]
    return any(span.filename.endswith(path) for span in places)


def is_near(finding: Finding, entry: Entry) -> bool:
    """Is the finding, or a step of its trace, within reach of a listed line?"""
    rows = {
        span.start.row
        for span in [finding.span, *(step.span for step in finding.trace)]
        if span.filename.endswith(entry.path)
    }
    return any(abs(row - line) <= TOLERANCE for row in rows for line in entry.lines)


def judge(git: Path, entry: Entry, *, alone: bool) -> Outcome | None:
    """Look for one bug before and after its fix."""
    found = findings_at(git, entry.revision, entry.path, alone=alone)
    if found is None:
        return None
    codes = frozenset(finding.code for finding in found if is_near(finding, entry))
    silent: bool | None = None
    if codes and entry.fixed_revision:
        after = findings_at(git, entry.fixed_revision, entry.fixed_path, alone=alone)
        silent = None if after is None else not codes & {finding.code for finding in after}
    return Outcome(entry, codes, silent)


def report(outcomes: list[Outcome], title: str) -> None:
    """Recall by class, and how many findings fall silent at the fix."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.entry.group].append(outcome)
    print(f"\n{title}: {sum(bool(o.codes) for o in outcomes)} of {len(outcomes)} bugs found")
    for group, members in sorted(groups.items()):
        print(f"  {group:28} {sum(bool(o.codes) for o in members)} of {len(members)}")
    fixed = Counter(o.silent_after_fix for o in outcomes if o.codes)
    print(f"  silent at the fix: {fixed[True]} of {fixed[True] + fixed[False]} that have one")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bugs", type=Path)
    parser.add_argument("clones", type=Path)
    parser.add_argument("--hold-out", nargs="*", default=[], metavar="REPO", help="reported apart")
    parser.add_argument("--alone", action="store_true", help="read no other file of the project")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    clean = noisy = 0
    for entry in read_entries(arguments.bugs):
        git = git_directory(arguments.clones, entry.repository)
        if git is None:
            print(f"no clone of {entry.repository}")
            continue
        if entry.kind == "clean":
            found = findings_at(git, entry.revision, entry.path, alone=arguments.alone)
            clean += found is not None
            for finding in found or ():
                if finding.span.filename.endswith(entry.path):
                    noisy += 1
                    place = f"{finding.code} at row {finding.span.start.row}"
                    print(f"FALSE {entry.name}: {place}: {finding.message}")
            continue
        outcome = judge(git, entry, alone=arguments.alone)
        if outcome is None:
            print(f"no revision {entry.revision} of {entry.repository}")
            continue
        outcomes.append(outcome)
        state = ",".join(sorted(outcome.codes)) or "missed"
        after = {True: ", silent at the fix", False: ", STILL FIRES at the fix", None: ""}[
            outcome.silent_after_fix
        ]
        print(f"{entry.group:28} {entry.name}: {state}{after}")
    held = set(arguments.hold_out)
    report([o for o in outcomes if o.entry.repository not in held], "development set")
    if held:
        report([o for o in outcomes if o.entry.repository in held], "hold-out")
    print(f"\nclean files: {clean}, findings on them: {noisy}")


if __name__ == "__main__":
    main()
