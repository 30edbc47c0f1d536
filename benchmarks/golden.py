"""What is found today, kept, so that nothing is lost unseen: ``benchmarks/golden.py freeze|compare FILE``

``FILE`` holds sections, each with its findings: code, file, row and confidence (high: by default, medium:
with ``--preview``). A section is a published package of ``ecosystem.toml``, an entry of a list of bugs and
clean files (``--list``, as for ``known_bugs.py``; before and after its fix), or a folder (``--tree
NAME=FOLDER``). ``compare`` looks again at the sections that are in the file and prints what is gone (-), new
(+), or moved between default and preview (~); it exits with 1 if there is such a thing, with 2 if a section
could not be looked at.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecosystem import HERE, unpack
from known_bugs import findings_at, git_directory, read_entries

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding

Found = Mapping[str, str]
"""Confidence by place: "LS101 package/file.py:12"."""


class NotThere(Exception):
    """A section can't be looked at: the package or the revision is missing."""


@dataclass(frozen=True, slots=True)
class Section:
    """A name and the way to its findings, which may raise `NotThere`."""

    name: str
    look: Callable[[], Found]


# ---- sections ---------------------------------------------------------------------------------


def package_sections(folder: Path, cache: Path | None, *, download: bool) -> Iterator[Section]:
    """The published packages; without ``download`` those that are missing are not there."""
    listed = tomllib.loads((HERE / "ecosystem.toml").read_text())
    for requirement in [*listed["lora"], *listed["other"]]:
        look = functools.partial(_in_package, requirement, folder, cache, download=download)
        yield Section(f"package {requirement}", look)


def _in_package(requirement: str, folder: Path, cache: Path | None, *, download: bool) -> Found:
    root = folder / requirement.replace("==", "-")
    if not download and not root.exists():
        raise NotThere(f"{root} does not exist")
    return findings_in(unpack(requirement, folder), cache)


def tree_section(name: str, root: Path, cache: Path | None) -> Section:
    """All files of a folder, linted together."""
    return Section(f"tree {name}", functools.partial(findings_in, root, cache))


def list_sections(path: Path, clones: Path, *, beside: bool) -> Iterator[Section]:
    """The file of each entry, before its fix and after: alone, and with ``beside`` in its project."""
    for entry in read_entries(path):
        versions = [("", entry.revision, entry.path)]
        if entry.fixed_revision:
            versions.append((" fixed", entry.fixed_revision, entry.fixed_path))
        for word, revision, name in versions:
            for alone in (True, False) if beside else (True,):
                mode = "" if alone else " in its project"
                look = functools.partial(_at, clones, entry.repository, revision, name, alone=alone)
                yield Section(f"list {path.stem} {entry.name}{word}{mode}", look)


def findings_in(root: Path, cache: Path | None) -> Found:
    """Places below ``root``. Raises NotThere if there is no Python file."""
    paths = sorted(root.rglob("*.py"))
    if not paths:
        raise NotThere(f"{root} holds no Python file")
    return _places(lint(paths, [], cache_dir=cache).findings, root)


def _at(clones: Path, repository: str, revision: str, path: str, *, alone: bool) -> Found:
    git = git_directory(clones, repository)
    if git is None:
        raise NotThere(f"no clone of {repository}")
    found = findings_at(git, revision, path, alone=alone)
    if found is None:
        raise NotThere(f"no {path} at {revision} in {repository}")
    return _places([item for item in found if item.span.filename.endswith(path)], None, path)


def _places(findings: Iterable[Finding], root: Path | None, path: str = "") -> Found:
    places: dict[str, str] = {}
    for item in findings:
        name = path if root is None else str(Path(item.span.filename).relative_to(root))
        place = f"{item.code} {name}:{item.span.start.row}"
        places[place] = "high" if "high" in (item.confidence, places.get(place)) else item.confidence
    return places


# ---- the file ---------------------------------------------------------------------------------


def write(path: Path, sections: Mapping[str, Found]) -> None:
    """One section a line, so that a change of it is one line of a diff."""
    lines = [
        json.dumps({"section": name, "found": dict(sorted(found.items()))})
        for name, found in sections.items()
    ]
    path.write_text("\n".join(lines) + "\n")


def read(path: Path) -> dict[str, Found]:
    """The sections of a file."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    return {row["section"]: row["found"] for row in rows}


def differences(before: Found, after: Found) -> Iterator[str]:
    """What is gone, new, or of another confidence, sorted by place."""
    for place in sorted({*before, *after}):
        was, now = before.get(place), after.get(place)
        if was is None:
            yield f"+ {now:6} {place}"
        elif now is None:
            yield f"- {was:6} {place}"
        elif was != now:
            yield f"~ {place}: {was} before, {now} now"


def look_at(sections: Sequence[Section]) -> Iterator[tuple[str, Found | NotThere]]:
    """Each section's findings, with the time that it took on standard error."""
    for section in sections:
        started = time.monotonic()
        try:
            found: Found | NotThere = section.look()
        except NotThere as missing:
            found = missing
        sys.stderr.write(f"{section.name}: {time.monotonic() - started:.1f} s\n")
        yield section.name, found


def freeze(path: Path, sections: Sequence[Section]) -> int:
    """Write what is found; sections that are not there are left out, and said."""
    kept: dict[str, Found] = read(path) if path.exists() else {}
    for name, found in look_at(sections):
        if isinstance(found, NotThere):
            print(f"left out: {name}: {found}")
            continue
        kept = (read(path) if path.exists() else {}) | {name: found}
        write(path, kept)  # each time, on what is there now: a run takes long
    print(f"{sum(map(len, kept.values()))} findings in {len(kept)} sections")
    return 0


def compare(path: Path, sections: Sequence[Section]) -> int:
    """Print the differences of the sections that the file has."""
    frozen = read(path)
    counts = {"-": 0, "+": 0, "~": 0}
    missing = 0
    for name, found in look_at([section for section in sections if section.name in frozen]):
        if isinstance(found, NotThere):
            missing += 1
            print(f"not looked at: {name}: {found}")
            continue
        lines = list(differences(frozen[name], found))
        for line in lines:
            counts[line[0]] += 1
        if lines:
            print("\n".join([name, *(f"  {line}" for line in lines)]), flush=True)
    print(f"gone {counts['-']}, new {counts['+']}, moved {counts['~']}")
    return 2 if missing else int(any(counts.values()))


def main() -> int:
    """Freeze or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=["freeze", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--packages", type=Path, default=HERE.parent / ".work" / "ecosystem", metavar="FOLDER"
    )
    parser.add_argument("--download", action="store_true", help="get the packages that are not in the folder")
    parser.add_argument("--list", type=Path, action="append", default=[], metavar="BUGS.jsonl")
    parser.add_argument("--clones", type=Path, help="git repositories OWNER+NAME, for the lists")
    parser.add_argument("--beside", action="store_true", help="listed files in their projects too (slow)")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--cache", type=Path, help="keep facts of files here between runs")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="TEXT", help="sections with one of these in it"
    )
    options = parser.parse_args()
    if options.list and options.clones is None:
        parser.error("--list needs --clones")
    sections = [
        *(tree_section(*_named(tree), options.cache) for tree in options.tree),
        *(
            section
            for path in options.list
            for section in list_sections(path, options.clones, beside=options.beside)
        ),
        *package_sections(options.packages, options.cache, download=options.download),
    ]
    if options.only:
        sections = [section for section in sections if any(text in section.name for text in options.only)]
    return {"freeze": freeze, "compare": compare}[options.action](options.file, sections)


def _named(tree: str) -> tuple[str, Path]:
    name, _, folder = tree.partition("=")
    return name, Path(folder)


if __name__ == "__main__":
    sys.exit(main())
