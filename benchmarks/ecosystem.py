"""Precision on published packages: ``python benchmarks/ecosystem.py [PACKAGE ...] [--folder FOLDER]``.

Downloads each package of ``ecosystem.toml`` at its pinned version (the wheel, without dependencies), unpacks
it, lints it with all rules and compares the findings with ``ecosystem_verdicts.toml``, each of them
judged by reading the code. Prints the precision over all judged findings with its 95 % Wilson interval, and
every finding without a verdict. Exits with 1 if a finding is new or a judged one is gone.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.engine import lint

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a finding is: package, file inside the wheel, row, and the code of the rule."""

    package: str
    filename: str
    row: int
    code: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person who read the code says of a finding."""

    true: bool
    reason: str


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (centre - margin) / scale, (centre + margin) / scale


def read_verdicts(path: Path) -> dict[Place, Verdict]:
    """The judged findings."""
    rows = tomllib.loads(path.read_text())["finding"]
    return {
        Place(row["package"], row["file"], row["row"], row["code"]): Verdict(row["true"], row["reason"])
        for row in rows
    }


def unpack(requirement: str, folder: Path) -> Path:
    """Download and unpack one package, once. Raises subprocess.CalledProcessError."""
    target = folder / requirement.replace("==", "-")
    if not target.exists():
        wheels = folder / "wheels" / target.name
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    return target


def findings_in(requirement: str, folder: Path) -> tuple[set[Place], int, int]:
    """Findings in one package, its number of files and of lines."""
    root = unpack(requirement, folder)
    paths = sorted(root.rglob("*.py"))
    result = lint(paths, [])
    for failure in result.failures:
        print(f"  {requirement}: {failure.filename}: {failure.message}")
    places = {
        Place(requirement, str(Path(item.span.filename).relative_to(root)), item.span.start.row, item.code)
        for item in result.findings
        if item.confidence == "high"  # what is shown without --preview
    }
    return places, len(paths), sum(path.read_bytes().count(b"\n") for path in paths)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packages", nargs="*", help="names to run, all by default")
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".work" / "ecosystem")
    arguments = parser.parse_args()
    listed = tomllib.loads((HERE / "ecosystem.toml").read_text())
    verdicts = read_verdicts(HERE / "ecosystem_verdicts.toml")
    wanted = [
        requirement
        for requirement in [*listed["lora"], *listed["other"]]
        if not arguments.packages or requirement.partition("==")[0] in arguments.packages
    ]
    found: set[Place] = set()
    files = lines = 0
    for requirement in wanted:
        started = time.monotonic()
        places, count, length = findings_in(requirement, arguments.folder)
        found |= places
        files, lines = files + count, lines + length
        print(
            f"{requirement:32} {count:6} files {len(places):3} findings {time.monotonic() - started:6.1f} s"
        )
    new = sorted(place for place in found if place not in verdicts)
    gone = sorted(place for place in verdicts if place.package in wanted and place not in found)
    for label, places in (("not judged", new), ("gone", gone)):
        for place in places:
            print(f"{label}: {place.package} {place.filename}:{place.row} {place.code}")
    judged = [verdicts[place] for place in found if place in verdicts]
    true = sum(verdict.true for verdict in judged)
    low, high = wilson(true, len(judged))
    print(f"\n{len(wanted)} packages, {files} files, {lines} lines")
    print(f"{len(found)} findings, {len(judged)} judged, {true} true")
    if judged:
        print(f"precision {true / len(judged):.1%}, 95 % Wilson interval {low:.1%} to {high:.1%}")
    print(f"{(len(judged) - true) * 100_000 / max(lines, 1):.2f} false findings for 100,000 lines")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
