"""All repairs forced on published packages: ``ecosystem_fixes.py [PACKAGE ...] [--folder FOLDER]``.

Takes the packages of ``ecosystem_verdicts.toml``, in all others of ``ecosystem.toml`` nothing is found and so
nothing is changed. Applies every repair, unsafe ones too, in memory, and checks that each result compiles,
that LibCST reproduces it byte for byte, that the lines which no repair replaced are unchanged and in order,
and that a second run changes nothing. Exits with 1 if one of these fails.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping
from pathlib import Path

import libcst
from ecosystem import HERE, read_verdicts, unpack

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from lorascale_lint.fixing.apply import Outcome, apply_fixes
from lorascale_lint.report.content import Report


def repaired(paths: list[Path], cache: Path, overlay: Mapping[Path, bytes]) -> tuple[Outcome, list[Finding]]:
    """What all rounds of repairs do to files, by ``overlay`` or on disk, and all findings on the way."""
    seen: list[Finding] = []

    def check(changed: Mapping[Path, bytes]) -> Report:
        result = lint(paths, [], overlay={**overlay, **changed}, cache_dir=cache)
        seen.extend(result.findings)
        return Report(result.findings)

    contents = {path: overlay.get(path) for path in paths}
    return apply_fixes(check, contents, unsafe=True), seen


def defects(before: bytes, after: bytes, budget: int) -> list[str]:
    """What is wrong with a repaired file; ``budget`` is the number of lines that repairs replace."""
    found: list[str] = []
    try:
        compile(after, "<repaired>", "exec", dont_inherit=True)
    except SyntaxError as error:
        found.append(f"does not compile: {error}")
    if libcst.parse_module(after).bytes != after:
        found.append("is not reproduced by LibCST")
    matcher = difflib.SequenceMatcher(None, before.split(b"\n"), after.split(b"\n"), autojunk=False)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    if kept < len(before.split(b"\n")) - budget:
        found.append(f"keeps {kept} lines, {budget} of {len(before.splitlines())} were to change")
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".work" / "ecosystem")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these, as NAME==VERSION")
    options = parser.parse_args()
    folder = options.folder
    failed = fixes = changed = again = 0
    known = {place.package for place in read_verdicts(HERE / "ecosystem_verdicts.toml")}
    packages = options.packages or sorted(known)
    for package in packages:
        root = unpack(package, folder)
        paths = sorted(root.rglob("*.py"))
        outcome, seen = repaired(paths, folder / "cache", {})
        files = [change for group in outcome.groups for change in group]
        number = sum(outcome.fixed.values())
        second, _ = repaired(paths, folder / "cache", {change.path: change.after for change in files})
        twice = sum(len(group) for group in second.groups)
        edits = {edit for finding in seen if finding.fix for edit in finding.fix.edits}
        problems = [failure.message for failure in outcome.report.failures]
        for change in files:
            rows = [
                e.span.end.row - e.span.start.row + 1 for e in edits if e.span.filename == str(change.path)
            ]
            name = change.path.relative_to(root)
            problems += [f"{name} {text}" for text in defects(change.before, change.after, sum(rows))]
        print(f"{package:24} {number:3} repairs in {len(files)} files, {twice} changed by a second run")
        for problem in problems:
            print(f"  {problem}")
        fixes, changed, again, failed = (
            fixes + number,
            changed + len(files),
            again + twice,
            failed + len(problems),
        )
    print(f"\n{len(packages)} packages: {fixes} repairs in {changed} files, {failed} defects")
    print(f"files that a second run changes: {again}")
    return 1 if failed or again else 0


if __name__ == "__main__":
    raise SystemExit(main())
