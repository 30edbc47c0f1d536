"""The sheet of a first sight: findings, copies, precision."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from verdict_sheet import Group, Precision, Row, groups, read, write

from tests.benchmarks.test_golden import UNSCALED

Benchmark = Callable[..., subprocess.CompletedProcess[str]]
OWN = UNSCALED.replace("def merge(self)", "def fuse_weights(self)")
UNSCALED_MERGE = UNSCALED.replace(
    "        self.weight.data += self.lora_B @ self.lora_A\n",
    "        if self.training:\n            return\n        print('merged')\n"
    "        self.weight.data += self.lora_B @ self.lora_A\n",
)


def row(repo: str, verdict: str = "", copy_of: str = "", confidence: str = "high", number: int = 1) -> Row:
    why = "read" if verdict else ""
    return Row(
        repo, "0" * 40, "a.py", number, "LS101", confidence, "m", (), ("1> x",), "f", verdict, why, copy_of
    )


def test_copies_count_once() -> None:
    first = row("o/a", "true")
    rows = [
        first,
        row("o/b", copy_of=first.id),
        row("o/c", "false"),
        row("o/d", copy_of="upstream kohya x.py f"),
    ]
    found = groups(rows)
    assert [(len(group.rows), group.is_copied, group.verdict) for group in found] == [
        (2, True, "true"),
        (1, False, "false"),
        (1, True, ""),
    ]
    assert Precision.of(found) == Precision(1, 1, 0, 1)


def test_copies_in_one_project_are_its_own() -> None:
    first = row("o/a", "true")
    (group,) = groups([first, row("o/a", copy_of=first.id, number=9)])
    assert not group.is_copied


def test_copies_judged_differently_are_arguable() -> None:
    assert Group((row("o/a", "true"), row("o/b", "false"))).verdict == "arguable"


def test_precision_counts_arguable_as_wrong() -> None:
    text = str(Precision(8, 1, 1, 2))
    assert text.startswith("8 of 10 true (80.0%, 95 % Wilson interval 49.0% to 94.3%)")
    assert str(Precision(0, 0, 0, 3)) == "none judged, 3 open"


def test_a_sheet_that_cannot_be_counted(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jsonl"
    write(sheet, [replace(row("o/a"), verdict="yes", why="read")])
    with pytest.raises(ValueError, match="'yes' is none of true, false, arguable"):
        read(sheet)
    write(sheet, [replace(row("o/a"), verdict="true", why="")])
    with pytest.raises(ValueError, match="without a reason"):
        read(sheet)


def project(trees: Path, repo: str, source: str) -> dict[str, str]:
    folder = trees / repo.replace("/", "+")
    folder.mkdir(parents=True)
    (folder / "layer.py").write_text(source)
    return {"repo": repo, "rev": "0" * 40}


def test_run(tmp_path: Path, benchmark: Benchmark) -> None:
    trees = tmp_path / "trees"
    listed = [
        project(trees, "o/first", UNSCALED_MERGE),
        project(trees, "o/copy", "# a copy\n\n" + UNSCALED_MERGE),
        project(trees, "o/own", OWN),
        project(trees, "o/clean", "x = 1\n"),
    ]
    repositories, sheet = tmp_path / "repositories.jsonl", tmp_path / "sheet.jsonl"
    repositories.write_text("".join(json.dumps(item) + "\n" for item in listed))
    done = benchmark("first_sight", "lint", repositories, trees, sheet)
    assert done.returncode == 0, done.stderr
    rows = {item.repo: item for item in read(sheet) if item.code == "LS101"}
    assert set(rows) == {"o/first", "o/copy", "o/own"}
    assert rows["o/first"].definition == "LoRALinear.merge"
    assert rows["o/first"].text == "self.weight.data += self.lora_B @ self.lora_A"
    assert all(":" in step and " | " in step for step in rows["o/first"].trace)
    assert {repo: item.copy_of for repo, item in rows.items()} == {
        "o/first": "",
        "o/copy": rows["o/first"].id,
        "o/own": "",
    }
    ends = [json.loads(line) for line in (tmp_path / "sheet.repositories.jsonl").read_text().splitlines()]
    assert [item["repo"] for item in ends] == [item["repo"] for item in listed]
    assert ends[-1]["findings"] == 0

    judged = [
        replace(item, verdict="true", why="alpha is lost") if not item.copy_of else item
        for item in read(sheet)
    ]
    write(sheet, judged)
    again = benchmark("first_sight", "lint", repositories, trees, sheet)
    assert again.returncode == 0, again.stderr
    assert read(sheet) == judged  # linted once, and no verdict is lost
    score = benchmark("first_sight", "score", sheet).stdout
    assert "own code:    1 of 1 true" in score
    assert "copied code: 1 of 1 true" in score


def test_upstream_code_is_a_copy(tmp_path: Path, benchmark: Benchmark) -> None:
    trees, upstream = tmp_path / "trees", tmp_path / "upstream"
    upstream.mkdir()
    (upstream / "lora.py").write_text(UNSCALED_MERGE)
    repositories, sheet = tmp_path / "repositories.jsonl", tmp_path / "sheet.jsonl"
    repositories.write_text(json.dumps(project(trees, "o/a", UNSCALED_MERGE)) + "\n")
    benchmark("first_sight", "lint", repositories, trees, sheet, "--upstream", upstream)
    (found,) = [item for item in read(sheet) if item.code == "LS101"]
    assert found.copy_of.startswith("upstream upstream/lora.py LoRALinear.merge: LS101 ")


def test_a_failed_run_is_kept(tmp_path: Path, benchmark: Benchmark) -> None:
    repositories, sheet = tmp_path / "repositories.jsonl", tmp_path / "sheet.jsonl"
    repositories.write_text(json.dumps({"repo": "o/gone", "rev": "0" * 40}) + "\n")
    benchmark("first_sight", "lint", repositories, tmp_path, sheet)
    (end,) = map(json.loads, (tmp_path / "sheet.repositories.jsonl").read_text().splitlines())
    assert "failure" in end


def test_sample_takes_one_row_of_each_code(tmp_path: Path, benchmark: Benchmark) -> None:
    first = row("o/a", confidence="medium")
    sheet, out = tmp_path / "sheet.jsonl", tmp_path / "out.jsonl"
    write(sheet, [first, row("o/b", copy_of=first.id, confidence="medium"), row("o/c")])
    assert benchmark("first_sight", "sample", sheet, out, "5").stdout == "1 of 1\n"
    assert [item.id for item in read(out)] == [first.id]
