"""PEFT, diffusers, LyCORIS and DiffSynth-Studio as published, untouched, on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from lorascale_lint.verify.registry import DIFFSYNTH, DIFFUSERS, DRIVERS, LYCORIS, PEFT, DriverEntry, choose
from lorascale_lint.verify.report import VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

Tree = Callable[[str, str], Path]
LYCORIS_VERSION = "4.1.3"


def needs(entry: DriverEntry) -> pytest.MarkDecorator:
    """Skips a test unless what the target imports is installed."""
    missing = [item.package for item in entry.requirements if importlib.util.find_spec(item.module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def row(report: VerifyReport, scenario: str, adapter: str = "", label: str = "") -> Row:
    (found,) = (
        row
        for row in report.rows
        if row.scenario == scenario and row.adapter == adapter and row.label == label
    )
    return found


def failing(report: VerifyReport) -> dict[str, str]:
    return {row.title: row.verdict.value for row in report.rows if row.is_failure}


@pytest.mark.network
@pytest.mark.usefixtures("warm")
@needs(PEFT)
def test_peft_is_right(published_tree: Tree) -> None:
    report = run_verify(published_tree("peft", "0.21.2"))
    assert report.exit_code == 0, render_text(report)
    assert (report.target.driver, report.target.version) == ("peft", "0.21.2")
    for scenario, scale in (
        ("merged, Linear with rsLoRA, alpha 4", 4 / 8**0.5),
        ("merged, Linear with DoRA, alpha 2.4", 0.3),
        ("unmerged forward, Conv2d, alpha 4", 0.5),
        ("unmerged forward, Embedding, alpha 4", 0.5),
        ("merged, strength .5, alpha 6, Linear with rsLoRA", 3 / 8**0.5),
        ("merged, Linear with LoHa, alpha 4", 0.5),
        ("unmerged forward, Linear with LoKr, alpha 4", 0.5),
        ("file with base_model.model. + adapter_config.json, rsLoRA", 4 / 8**0.5),
        ("file with base_model.model. + adapter_config.json of alpha 2.4, plain names", 0.3),
    ):
        assert row(report, scenario).observed == pytest.approx(scale, rel=1e-5), scenario
    assert row(report, "A and half of B together", "B", "merged again").verdict is Verdict.OK


@pytest.mark.network
@pytest.mark.usefixtures("warm")
@needs(DIFFUSERS)
def test_diffusers_is_right_for_its_own_files(published_tree: Tree) -> None:
    report = run_verify(published_tree("diffusers", "0.42.1"))
    assert report.exit_code == 0, render_text(report)
    assert row(report, "merge, unmerge, merge", label="unmerged").verdict is Verdict.OK
    assert row(report, "A, B, A again, by nickname", "A").observed == pytest.approx(0.5, rel=1e-5)


@pytest.mark.network
@pytest.mark.usefixtures("warm")
@needs(LYCORIS)
def test_lycoris_scales_merged_loha_and_lokr_twice(published_tree: Tree) -> None:
    report = run_verify(published_tree("lycoris-lora", LYCORIS_VERSION))
    assert report.target.version == LYCORIS_VERSION
    assert set(failing(report).values()) == {"double-scaled", "residual-after-unmerge"}
    assert row(report, "merged, Linear, alpha 2.4").verdict is Verdict.OK
    assert row(report, "merged, Conv2d, alpha 2.4").verdict is Verdict.OK
    assert row(report, "merged, Linear with DoRA, alpha 4").verdict is Verdict.OK
    for kind in ("Linear with LoHa", "Conv2d with LoHa", "Linear with LoKr"):
        assert row(report, f"merged, {kind}, alpha 4").verdict is Verdict.DOUBLE_SCALED
        assert row(report, f"unmerged forward, {kind}, alpha 4").verdict is Verdict.OK


@pytest.mark.network
@pytest.mark.usefixtures("warm")
@needs(DIFFSYNTH)
@pytest.mark.parametrize(("version", "scale"), [("1.1.9", 1.0), ("2.1.12", 0.5)])
def test_diffsynth_reads_alpha_since_2(published_tree: Tree, version: str, scale: float) -> None:
    report = run_verify(published_tree("diffsynth", version))
    assert report.exit_code == (0 if scale == 0.5 else 1)
    found = row(report, "file with .alpha, plain names")
    assert found.observed == pytest.approx(scale, rel=1e-5)
    assert row(report, "file without alpha, plain names").verdict is Verdict.OK


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        (PEFT, "peft/tuners/lora/layer.py"),
        (DIFFUSERS, "diffusers/loaders/lora_pipeline.py"),
        (LYCORIS, "lycoris/modules/locon.py"),
        (DIFFSYNTH, "diffsynth/__init__.py"),
    ],
)
def test_a_tree_is_found_by_looking_at_it(entry: DriverEntry, file: str, tmp_path: Path) -> None:
    for place in (tmp_path / "wheel", tmp_path / "checkout" / "src"):
        marker = place / file
        marker.parent.mkdir(parents=True)
        marker.touch()
    package = tmp_path / "wheel" / file.partition("/")[0]
    assert choose(tmp_path / "wheel") == choose(package) == (entry, package.resolve())
    assert choose(tmp_path / "checkout")[0] is entry


def test_a_folder_of_several_packages_is_ambiguous(tmp_path: Path) -> None:
    for name in ("peft/tuners/lora/layer.py", "diffsynth/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    report = run_verify(tmp_path)
    assert report.exit_code == 2
    assert "peft" in render_text(report)
    assert "diffsynth" in render_text(report)
    assert choose(tmp_path, "peft")[0] is PEFT


def test_names_of_drivers_are_unique() -> None:
    assert len({entry.name for entry in DRIVERS}) == len(DRIVERS)
