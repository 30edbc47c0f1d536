"""The share of products that the map names."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from matrix_products import Product

from tests.benchmarks.conftest import BENCHMARKS

LAYER = """
from torch import nn

class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = lora_alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
HIDDEN = """
def apply_lora(x, weights):
    return x @ weights[0] @ weights[1]
"""


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The script; a library has the same name."""
    spec = importlib.util.spec_from_file_location("benchmark_of_coverage", BENCHMARKS / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def row(start: int, end: int, kind: str, **more: object) -> dict[str, object]:
    return {"filename": "a.py", "row": start, "end_row": end, "kind": kind, **more}


def seen(
    coverage: ModuleType, product: tuple[int, int], record: dict[str, object]
) -> tuple[str, str, tuple[str, ...]]:
    (item,) = coverage.view("p", [("a.py", Product(*product, "@", "f", "b @ a"))], record)
    return item.kind, item.scale, item.reasons


def test_the_closest_rows_count(coverage: ModuleType) -> None:
    listed = [
        row(1, 9, "other"),
        row(4, 5, "delta", scale="alpha / rank"),
        row(4, 4, "unknown", reasons=["`x`"]),
    ]
    record = {"products": listed}
    assert seen(coverage, (4, 5), record) == ("delta", "alpha / rank", ())
    assert seen(coverage, (4, 4), record) == ("unknown", "", ("`x`",))
    assert seen(coverage, (10, 10), record) == ("not listed", "", ())


def test_of_two_on_the_same_rows_the_named_one_counts(coverage: ModuleType) -> None:
    record = {"products": [row(4, 4, "unknown"), row(4, 4, "half")]}
    assert seen(coverage, (4, 4), record)[0] == "half"


def test_two_products_of_a_row_take_two_entries(coverage: ModuleType) -> None:
    record = {"products": [row(4, 4, "half"), row(4, 4, "delta")]}
    found = [("a.py", Product(4, 4, "layer call", "f", text)) for text in ("up(down(x))", "down(x)")]
    assert sorted(item.kind for item in coverage.view("p", found, record)) == ["delta", "half"]


def test_another_product_with_a_reason_is_counted_apart(
    coverage: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    product = Product(4, 4, "@", "f", "b @ a")
    coverage.report([coverage.Seen("p", "a.py", product, "other", "", ("nothing known",))], [], 5)
    said = capsys.readouterr().out
    assert "without the others that have a reason: 0 of 1 (0.0%)" in said
    assert "    1  nothing known" in said


def test_applications_stand_in_for_a_list(coverage: ModuleType) -> None:
    application = {"filename": "a.py", "row": 6, "kind": "forward", "scale": "unknown"}
    record = {"functions": [application]}
    assert seen(coverage, (4, 4), record) == ("delta", "unknown", ())
    assert seen(coverage, (2, 2), record)[0] == "not listed"


def test_reasons_are_counted_without_names(coverage: ModuleType) -> None:
    one, other = (
        coverage.generalised("`w` at a.py:12 is unseen"),
        coverage.generalised("`v` at b/c.py:3 is unseen"),
    )
    assert one == other


def test_run(tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "layer.py").write_text(LAYER)
    (tmp_path / "two" / "hidden.py").write_text(HIDDEN)
    (tmp_path / "two" / "broken.py").write_text("def lora(:\n")
    out = tmp_path / "out.jsonl"
    done = benchmark("coverage", tmp_path / "one", tmp_path / "two", "--json", out, "--projects")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    places = [(item["project"], item["filename"], item["product"]["operation"]) for item in rows]
    # The layer of the second project is a copy.
    assert places == [("one", "layer.py", "layer call")] * 2 + [("two", "hidden.py", "@")] * 2
    assert rows[0]["kind"] in ("delta", "half")
    assert "4 products, named" in done.stdout


def test_a_folder_that_is_not_mapped_is_said(
    tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = benchmark("coverage", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "not mapped: nowhere: " in done.stdout


def test_kept_maps_are_not_made_again(
    tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "layer.py").write_text(LAYER)
    arguments = ("coverage", tmp_path / "one", "--maps", tmp_path / "maps")
    first = benchmark(*arguments)
    kept = tmp_path / "maps" / "one.json"
    assert json.loads(kept.read_text())["products"]
    assert benchmark(*arguments).stdout == first.stdout
    kept.write_text('{"products": [], "functions": []}')
    assert "not listed 2" in benchmark(*arguments).stdout
