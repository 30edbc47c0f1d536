"""The same trees by several interpreters: `python benchmarks/interpreters.py --with python3.13 -- TREE...`.

``--examples`` also takes the examples of all rules, bad and good, each in a folder of its own. Each
interpreter needs the program's dependencies; it runs the program beside this file. Prints for each how many
findings it has, how many files it could not read, and what is not as this interpreter has it. Exits with 1 if
anything else than the reason why a file can't be parsed differs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from commands import program


@dataclass(frozen=True, slots=True)
class Answer:
    """What one interpreter says of a tree."""

    version: str
    code: int
    findings: frozenset[str]
    refused: frozenset[str]

    @classmethod
    def of(cls, interpreter: str, tree: Path) -> Answer:
        """Run it."""
        version = [interpreter, "-c", "import platform; print(platform.python_version())"]
        said = subprocess.run(version, capture_output=True, text=True, check=True)
        options = ["check", "--no-cache", "--preview", "--output-format", "json", str(tree)]
        command = program(*options, interpreter=interpreter)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr:
            raise SystemExit(f"{interpreter}: {done.stderr}")
        refused = {line.partition(" LS001")[0] for line in done.stderr.splitlines() if " LS001" in line}
        found = {json.dumps(item, sort_keys=True) for item in json.loads(done.stdout)}
        return cls(said.stdout.strip(), done.returncode, frozenset(found), frozenset(refused))

    def differences(self, other: Answer) -> list[str]:
        """What is not as `other` has it, but for files that only one of them can parse."""
        unread = {name.partition(":")[0] for name in self.refused ^ other.refused}
        differing = [json.loads(item) for item in self.findings ^ other.findings]
        return [
            f"{item['filename']}:{item['location']['row']} {item['code']} {item['message']}"
            for item in differing
            if item["filename"] not in unread
        ]


def write_examples(folder: Path) -> Path:
    """The bad and the good example of each rule."""
    from lorascale_lint.rule import all_rules

    for rule in all_rules():
        for section, code in re.findall(r"## (Bad|Good)\n+```python\n(.*?)```", rule.page(), re.DOTALL):
            path = folder / f"{rule.code}_{section}" / "lora.py"
            path.parent.mkdir(parents=True)
            path.write_text(code)
    return folder


def main() -> int:
    """Compare; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trees", nargs="*", type=Path)
    parser.add_argument("--examples", action="store_true")
    parser.add_argument("--with", dest="others", nargs="+", required=True, metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = [write_examples(Path(folder) / "examples")] if options.examples else []
        return compare([*written, *options.trees], options.others)


def compare(trees: list[Path], others: list[str]) -> int:
    """Print what each interpreter has; the exit code."""
    wrong = 0
    for tree in trees:
        own = Answer.of(sys.executable, tree)
        print(f"{tree.name}: {own.version} {len(own.findings)} findings, {len(own.refused)} files not read")
        for interpreter in others:
            answer = Answer.of(interpreter, tree)
            found = answer.differences(own)
            wrong += len(found)
            print(
                f"{tree.name}: {answer.version} {len(answer.findings)} findings, "
                f"{len(answer.refused)} files not read, {len(found)} differ"
            )
            for line in found:
                print(f"    {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
