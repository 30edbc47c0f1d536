"""Programs that were written without a look at the rules: ``python benchmarks/blind.py FOLDER... [--list]``

The first line of a program says what is right: ``# wrong in line 12: why`` (or ``lines 12 and 14``), or
``# silent: why``. A folder is one program of several files, of which one says it. Each program is linted
alone. A bug counts as found if a finding, or a step of its trace, is within 3 rows of a line that is named; a
finding of a correct program is false. A folder that rules were corrected for is material of development from
then on: what counts is the figure of its first run.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding

NEAR = 3
_ROWS = re.compile(r"\d+")


def rows_said(text: str) -> list[int] | None:
    """The lines that hold a bug; None for a program that is right."""
    verdict = text.partition("\n")[0].partition(":")
    head = verdict[0] if "VERDICT" not in verdict[0] else verdict[2].partition(":")[0]
    return [int(row) for row in _ROWS.findall(head)] if "wrong" in head else None


def near(finding: Finding, rows: list[int]) -> bool:
    """Is the finding, or a step of its trace, at one of the rows?"""
    seen = [finding.span.start.row, *(step.span.start.row for step in finding.trace)]
    return any(abs(row - other) <= NEAR for row in rows for other in seen)


def main() -> None:
    """Print how many bugs are found, by default and with --preview, and what is false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--list", action="store_true", help="name what is missed, and what is false")
    options = parser.parse_args()
    for folder in options.folders:
        bugs = right = default = preview = 0
        false: list[str] = []
        for path in sorted(item for item in folder.iterdir() if item.is_dir() or item.suffix == ".py"):
            texts = {
                item.name: item.read_text() for item in ([path] if path.is_file() else path.glob("*.py"))
            }
            name, text = next(item for item in texts.items() if item[1].startswith(("# wrong", "# silent")))
            rows = rows_said(text)
            with tempfile.TemporaryDirectory() as place:  # alone, and in no folder of tests
                copies = [Path(place, other) for other in texts]
                for copy in copies:
                    copy.write_text(texts[copy.name])
                findings = lint(copies, []).findings
            if rows is None:
                right += 1
                false += [f"{path.stem}:{f.span.start.row} {f.code} {f.confidence}" for f in findings]
                continue
            bugs += 1
            found = [f for f in findings if Path(f.span.filename).name == name and near(f, rows)]
            default += any(finding.confidence == "high" for finding in found)
            preview += bool(found)
            if options.list and not found:
                print(f"missed: {path.stem}: {text.partition(chr(10))[0]}")
        print(f"{folder.name}: {default} of {bugs} bugs by default, {preview} with --preview")
        print(f"  correct programs: {right}, findings on them: {len(false)}")
        for item in false:
            print(f"  false: {item}")


if __name__ == "__main__":
    main()
