"""Repairs of real bugs beside their fixes: ``python benchmarks/known_fixes.py bugs.jsonl CLONES [NAME ...]``.

Takes the lists of ``known_bugs.py``. Where a finding at a bug offers a repair, all repairs of its rule are
applied to the file alone, unsafe ones too. The result has to compile and to be silent for the rule. Then
``map`` is asked for the scale of every application, and the functions that the repair or the project's own
fix changed are compared; so is their code, whatever its layout. Exits with 1 if a result does not compile or
still fires.
"""

from __future__ import annotations

import argparse
import ast
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from known_bugs import Entry, checkout, git_directory, is_near, read_entries

from lorascale_lint.engine import lint
from lorascale_lint.examination import examine_paths
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.ledger.applications import applications
from lorascale_lint.report.content import Report

Formulas = Mapping[str, tuple[str, ...]]
_NAMED = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one bug: the codes repaired, ``safe`` if no unsafe repair was needed."""

    codes: frozenset[str]
    safe: bool
    compiles: bool
    silent: bool
    before: Formulas
    after: Formulas
    code: Mapping[str, str]
    """The syntax trees of the functions that the repair changed."""


def formulas(path: Path, source: bytes) -> Formulas:
    """The effective scales of the applications of each function, as ``map`` prints them, sorted."""
    ledger, _ = examine_paths([path], [], overlay={path: source})
    found: dict[str, list[str]] = defaultdict(list)
    for application in applications(ledger):
        found[application.spot.name].append(f"{application.kind} {application.formula}")
    return {name: tuple(sorted(items)) for name, items in found.items()}


def repair(path: Path, entry: Entry) -> Repair | None:
    """Repair one bug; None if no finding at its lines offers to."""
    near = [finding for finding in lint([path], []).findings if is_near(finding, entry)]
    codes = frozenset(finding.code for finding in near if finding.fix is not None)
    if not codes:
        return None

    def check(overlay: Mapping[Path, bytes]) -> Report:
        return Report(lint([path], [], overlay=overlay, codes=codes).findings)

    source = path.read_bytes()
    safe = not any(finding.fix and finding.fix.applicability == "unsafe" for finding in near)
    outcome = apply_fixes(check, {path: None}, unsafe=True)
    after = next((change.after for group in outcome.groups for change in group), source)
    try:
        compile(after, str(path), "exec", dont_inherit=True)
        compiles = after != source
    except SyntaxError:
        compiles = False
    left = [finding for finding in outcome.report.findings if finding.fix is not None]
    return Repair(
        codes,
        safe,
        compiles and not outcome.report.failures,
        not left,
        formulas(path, source),
        formulas(path, after),
        dict(trees(after).items() - trees(source).items()) if compiles else {},
    )


def trees(source: bytes) -> Mapping[str, str]:
    """The syntax tree of every function, by its name and those around it."""
    found: dict[str, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}".lstrip(".") if isinstance(child, _NAMED) else name
            visit(child, inner)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found[inner] = ast.dump(child)

    visit(ast.parse(source), "")
    return found


def compare(ours: Repair, theirs: Formulas) -> list[str]:
    """Functions that a repair changed, and what both sides apply there."""
    lines: list[str] = []
    for name in sorted({*ours.before, *ours.after, *theirs}):
        before, after, fixed = (found.get(name, ()) for found in (ours.before, ours.after, theirs))
        if before == after == fixed or (after == before and not fixed):
            continue
        if after == fixed:
            lines.append(f"  same in {name}: {'; '.join(after)}")
        else:
            lines.append(
                f"  differs in {name}: {'; '.join(after) or 'none'} / theirs: {'; '.join(fixed) or 'none'}"
            )
    return lines


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bugs", type=Path)
    parser.add_argument("clones", type=Path)
    parser.add_argument("names", nargs="*", help="bugs to look at, all by default")
    arguments = parser.parse_args()
    bugs = offered = safe = compared = same = identical = 0
    defects = 0
    for entry in read_entries(arguments.bugs):
        git = git_directory(arguments.clones, entry.repository)
        if entry.kind == "clean" or git is None or (arguments.names and entry.name not in arguments.names):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if not checkout(git, entry.revision, entry.path, folder / "buggy", alone=True):
                continue
            bugs += 1
            done = repair(folder / "buggy" / entry.path, entry)
            if done is None:
                continue
            offered += 1
            safe += done.safe
            state = (
                ""
                if done.compiles and done.silent
                else " DEFECT: " + ("still fires" if done.compiles else "does not compile")
            )
            defects += bool(state)
            kind = "safe" if done.safe else "unsafe"
            print(f"{entry.name}: {','.join(sorted(done.codes))} {kind}{state}")
            fixed = entry.fixed_revision
            if fixed and checkout(git, fixed, entry.fixed_path, folder / "fixed", alone=True):
                path = folder / "fixed" / entry.fixed_path
                lines = compare(done, formulas(path, path.read_bytes()))
                compared += bool(lines)
                same += bool(lines) and all(line.startswith("  same") for line in lines)
                print("\n".join(lines or ["  no application that either side changed"]))
                theirs = trees(path.read_bytes())
                equal = {name: theirs.get(name) == tree for name, tree in done.code.items()}
                for name in sorted(equal):
                    print(f"  {'same' if equal[name] else 'other'} code in {name}")
                identical += bool(equal) and all(equal.values())
            else:
                print("  no fix of the project at hand")
    print(f"\n{bugs} bugs, {offered} with a repair ({safe} safe), {defects} defects")
    print(f"{compared} compared with the project's fix by scale: {same} with the same scales")
    print(f"{identical} with the same code as the project's fix in every function that the repair changed")
    return 1 if defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
