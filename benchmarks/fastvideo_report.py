"""FastVideo before and after the repair: `benchmarks/fastvideo_report.py VERSION... NAME=TREE... > FILE`.

A VERSION is downloaded from PyPI; a TREE is a folder that holds `fastvideo`, a checkout for example. Each is
copied, linted and run by `verify` as it is, after `--fix`, after `--fix --unsafe-fixes`, and with `--preview`
as well. `--diff NAME` prints the whole patch of that tree, `--rows FOLDER` keeps every measured row as JSON.
Needs the extras `verify` and `fastvideo`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = "1"
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("as it is", ()),
    ("`--fix`", ("--fix",)),
    ("`--unsafe-fixes`", ("--fix", "--unsafe-fixes")),
    ("`--preview`", ("--fix", "--unsafe-fixes", "--preview")),
)
INTRODUCTION = """\
# FastVideo before and after the repair

Every release with LoRA code and three commits: what is found, and the scale that `lorascale-lint verify`
measures on the CPU, in one process and on two ranks (`--distributed 2`: "sharded weight" and "tensor
parallel"). The rank is 8 unless a row says otherwise; `observed verdict`, a bare number is right. The columns
are the tree as it is, after `--fix`, after `--fix --unsafe-fixes`, and after that with `--preview`.
Made by

```
python benchmarks/fastvideo_report.py {arguments} > docs/fastvideo.md
```

where `NAME=TREE` is a checkout of that commit.

What only `--preview` repairs is plausible and not shown by the code. The layers of 0.1.2 keep no alpha,
as if the scale of their files were always 1. The loader of 0.2.1 reads alpha from the tensors, as `.alpha`
and `.lora_alpha`; nothing in it says that its files have an `.alpha_scale`, an `adapter_config.json` or
metadata as well: the prefix `base_model.model.` of folders that PEFT saves is unknown to it.
"""
# Why a row is not right after the last step: the first entry whose words are in the row's title or detail.
REASONS: tuple[tuple[str, str], ...] = (
    ("not offered by this version", "the version has no such feature"),
    (
        "has no attribute 'set_lora'",
        "its row-parallel forward asks for what nothing sets, and layers of 0.1.2 have no delta to add there",
    ),
    (
        "MergedColumnParallelLinear",
        "its wrapper indexes a third dimension that no factor has; it never worked",
    ),
    (
        "QKVParallelLinear",
        "its wrapper wants factors as a pair, and shard sizes that do not exist; it never worked",
    ),
    ("recognises none of the file's keys", "the loader never knew these names; it applies nothing"),
    (
        "lora_adapter_metadata",
        "diffusers keeps alpha as JSON inside the metadata, which the repaired loader does not read",
    ),
    (
        "unmerged forward",
        "layers of 0.1.2 add their delta to the weight only: a forward that does is a feature",
    ),
    (
        "sharded weight",
        "its sharded branch shards a module anew that FSDP has sharded before; torch 2.13 refuses that",
    ),
    ("constructor alpha", "a setter that is told no alpha takes the rank: a convention, too"),
    ("alpha 0 means", "scale 0 to PEFT, scale 1 to kohya; the repaired code takes it as 0"),
)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class State:
    """A tree after one of the steps; without `rows` it could not be run, for the reason in `problem`."""

    findings: Sequence[str]
    rows: dict[Key, dict[str, Any]]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """One tree through all steps."""

    name: str
    states: Sequence[State]
    diff: str

    def rows(self) -> Iterator[tuple[str, list[dict[str, Any] | None]]]:
        """Titles of all rows, with what each state shows."""
        for key in dict.fromkeys(key for state in self.states for key in state.rows):
            yield ": ".join(part for part in key if part), [state.rows.get(key) for state in self.states]


def tool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run lorascale-lint in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "lorascale_lint", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def findings(folder: Path, *options: str) -> list[str]:
    """What is left, as "path:row: CODE name"."""
    result = tool(folder, "check", "fastvideo", "--output-format", "json", *options)
    if result.returncode not in (0, 1):
        sys.exit(f"lint of {folder} failed:\n{result.stderr}")
    return [
        f"{item['code']} {Path(item['filename']).name}:{item['location']['row']}"
        for item in json.loads(result.stdout)
    ]


def measure(folder: Path) -> tuple[dict[Key, dict[str, Any]], str | None]:
    """All rows of `verify`, those of two ranks at the end, and why there are none."""
    rows: dict[Key, dict[str, Any]] = {}
    for options in ((), ("--distributed", "2")):
        result = tool(folder, "verify", ".", "--seed", SEED, "--output-format", "json", *options)
        try:
            report = json.loads(result.stdout)
        except ValueError:
            sys.exit(f"verify of {folder} failed:\n{result.stderr}")
        if report["problem"]:
            return {}, report["problem"]
        rows |= {(row["scenario"], row["label"], row["adapter"]): row for row in report["rows"]}
    return rows, None


def digest(folder: Path) -> str:
    """Hash of all code."""
    paths = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def through_all_steps(name: str, tree: Path, work: Path) -> Version:
    """Copy a tree and take it through the steps; what did not change is not run again."""
    folder = work / name
    shutil.copytree(tree / "fastvideo", folder / "fastvideo", ignore=shutil.ignore_patterns("*.pyc"))
    for info in tree.glob("fastvideo-*.dist-info"):
        shutil.copytree(info, folder / info.name)
    patch = tool(folder, "check", "fastvideo", "--diff", "--unsafe-fixes").stdout
    states: list[State] = []
    seen = ""
    for _, options in STEPS:
        left = findings(folder, *options)
        now = digest(folder)
        if now == seen:
            states.append(State(left, states[-1].rows, states[-1].problem))
        else:
            states.append(State(left, *measure(folder)))
        seen = now
        print(f"{name} {' '.join(options)}: {len(left)} findings, {verdicts(states[-1])}", file=sys.stderr)
    return Version(name, states, patch)


def kind(row: dict[str, Any]) -> str:
    """ok, wrong, warning, or the verdict itself where nothing was measured."""
    if row["verdict"] in ("ok", "unsupported", "not-measured"):
        return str(row["verdict"])
    return "wrong" if row["counted"] and row["verdict"] != "ambiguous" else "warning"


def shown(row: dict[str, Any] | None) -> str:
    """The observed scale, with the verdict unless it is right."""
    if row is None:
        return "-"
    observed = row["observed"]
    number = "" if observed is None else f"{0 if abs(observed) < 1e-6 else observed:.4g}"
    verdict = "" if row["verdict"] == "ok" else row["verdict"]
    return f"{number} {verdict}".strip()


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    names = list(header)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows), ""]


def verdicts(state: State) -> str:
    """How many rows are right, wrong, a warning, and cannot be asked."""
    if state.problem:
        return f"not run: {state.problem}"
    counts = Counter(kind(row) for row in state.rows.values())
    return ", ".join(
        f"{counts[name]} {name}" for name in ("ok", "wrong", "warning", "unsupported") if counts[name]
    )


def reason(version: Version, title: str, row: dict[str, Any]) -> str:
    """Why a row is not right after the last step."""
    for words, text in REASONS:
        if words in title or words in row["detail"]:
            return text
    return "?"


def chapter(version: Version) -> list[str]:
    """One version: findings of each step, rows that are not right everywhere, and why."""
    lines = [f"## {version.name}", ""]
    before = None
    for (title, _), state in zip(STEPS, version.states, strict=True):
        if state.findings != before:
            lines.append(f"- {title}: {', '.join(state.findings) or 'no findings'}")
        before = state.findings
    body, left = [], Counter[str]()
    right = 0
    for title, states in version.rows():
        found = [row for row in states if row is not None]
        if all(row["verdict"] == "ok" for row in found):
            right += 1
            continue
        last = found[-1]
        if last["verdict"] != "ok":
            why = reason(version, title, last)
            left[why] += 1
        if any(row["verdict"] != "unsupported" for row in found):
            body.append([title, f"{last['expected']:.4g}", *(shown(row) for row in states)])
    lines += ["", *table(["scenario", "expected", *(title for title, _ in STEPS)], body)]
    lines += [f"{right} more rows are right in every state.", ""]
    if left:
        lines += ["Rows that are not right at the end, and why:", ""]
        lines += [*(f"- {count}: {text}" for text, count in left.most_common()), ""]
    return lines


def document(versions: Sequence[Version], whole: Sequence[str], arguments: str) -> list[str]:
    """The page."""
    overview = [
        [version.name, *(f"{len(state.findings)} findings; {verdicts(state)}" for state in version.states)]
        for version in versions
    ]
    lines = [INTRODUCTION.format(arguments=arguments)]
    lines += table(["version", *(title for title, _ in STEPS)], overview)
    for version in versions:
        if version.name in whole:
            patch = version.diff.rstrip("\n")
            lines += [
                f"## The patch of {version.name} (`--diff --unsafe-fixes`)",
                "",
                "```diff",
                patch,
                "```",
                "",
            ]
    for version in versions:
        lines += chapter(version)
    return lines


def fetched(version: str, folder: Path) -> Path:
    """Download and unpack a release; nothing of it is installed or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), f"fastvideo=={version}"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob(f"fastvideo-{version}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / version)
    return folder / version


def main() -> None:
    """Measure the trees of the command line and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trees", nargs="+", metavar="VERSION|NAME=TREE")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--diff", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(os.cpu_count()) as pool:

        def version(given: str) -> Version:
            name, _, tree = given.partition("=")
            place = Path(tree).resolve() if tree else fetched(name, Path(work))
            return through_all_steps(name, place, Path(work) / "copies")

        versions = list(pool.map(version, options.trees))
    for found in versions if options.rows else ():
        options.rows.mkdir(parents=True, exist_ok=True)
        record = [
            {"findings": state.findings, "rows": list(state.rows.values()), "problem": state.problem}
            for state in found.states
        ]
        (options.rows / f"{found.name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    trees = [f"{given.partition('=')[0]}=TREE" if "=" in given else given for given in options.trees]
    arguments = " ".join([*trees, *(f"--diff {name}" for name in options.diff)])
    print("\n".join(document(versions, options.diff, arguments)), end="")


if __name__ == "__main__":
    main()
