"""The real thing: published FastVideo, untouched, on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from lorascale_lint.verify.registry import FASTVIDEO
from lorascale_lint.verify.report import VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

_NEEDED = [*FASTVIDEO.requirements, *FASTVIDEO.full_requirements]

pytestmark = [
    pytest.mark.network,
    pytest.mark.usefixtures("warm_module"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(item.module) is None for item in _NEEDED),
        reason="needs torch and what FastVideo imports (extras verify and fastvideo)",
    ),
]


def row(report: VerifyReport, scenario: str, adapter: str = "", label: str = "") -> Row:
    (found,) = (
        row
        for row in report.rows
        if row.scenario == scenario and row.adapter == adapter and row.label == label
    )
    return found


@pytest.fixture(scope="module")
def untouched(fastvideo_tree: Callable[[str], Path]) -> VerifyReport:
    tree = fastvideo_tree("0.1.6")
    before = sorted(tree.rglob("*"))
    report = run_verify(tree)
    assert sorted(tree.rglob("*")) == before, "the tree must be left as it was"
    return report


def test_the_published_version_differs(untouched: VerifyReport) -> None:
    assert untouched.exit_code == 1, render_text(untouched)
    assert untouched.target.version == "0.1.6"
    assert untouched.target.import_mode == "full"


@pytest.mark.parametrize(
    "scenario",
    [
        "merged, ReplicatedLinear, alpha 4",
        "merged, ColumnParallelLinear, alpha 4",
        "merged, RowParallelLinear, alpha 4",
        "training mode, forward, then merged, alpha 4",
        "file with .lora_alpha, plain names",
        "file with .lora_alpha, published names",
        "file with .alpha_scale, diffusion_model. + original names",
        "file with .alpha, original names",
    ],
)
def test_alpha_is_ignored(untouched: VerifyReport, scenario: str) -> None:
    found = row(untouched, scenario)
    assert (found.expected, found.verdict) == (0.5, Verdict.ALPHA_IGNORED)
    assert found.observed == pytest.approx(1.0, rel=1e-6)


def test_the_measured_state_of_the_rest(untouched: VerifyReport) -> None:
    assert row(untouched, "merged, ReplicatedLinear, alpha missing").verdict is Verdict.OK
    assert "shapes" in row(untouched, "unmerged forward, ReplicatedLinear, alpha 4").detail
    assert row(untouched, "unmerge, ReplicatedLinear", label="after unmerge").verdict is Verdict.OK
    assert row(untouched, "unmerged forward, ColumnParallelLinear, alpha 4").verdict is Verdict.NOT_APPLIED
    assert row(untouched, "merged forward, RowParallelLinear").verdict is Verdict.CRASHED
    assert row(untouched, "A, B, A again, by path", "A").verdict is Verdict.CRASHED
    assert row(untouched, "A on all layers, then B on some", "A", "other layers").verdict is (
        Verdict.RESIDUAL_AFTER_SWITCH
    )
    assert row(untouched, "file with lora_down/lora_up + .alpha").verdict is Verdict.UNSUPPORTED


def test_everything_done_to_it_is_reported(untouched: VerifyReport) -> None:
    text = render_text(untouched)
    assert "get_local_torch_device" in text
    assert "gloo" in text
    assert f"seed {untouched.seed}" in text
    assert "triton" not in untouched.target.stubs


@pytest.mark.slow
def test_two_ranks_share_layers(fastvideo_tree: Callable[[str], Path]) -> None:
    report = run_verify(fastvideo_tree("0.2.1"), distributed=2)
    for kind in ("ReplicatedLinear, sharded weight", "ColumnParallelLinear, tensor parallel"):
        assert row(report, f"merged, {kind}, alpha 4").verdict is Verdict.OK
        assert row(report, f"merged, {kind}, alpha 2.4").verdict is Verdict.TRUNCATED
    assert row(report, "unmerged forward, ReplicatedLinear, sharded weight, alpha 4").verdict is Verdict.OK
    assert row(report, "merged, QKVParallelLinear, tensor parallel, alpha 4").verdict is Verdict.UNSUPPORTED
