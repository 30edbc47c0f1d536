"""Drivers of one's own: functions, loaders, pyproject, packages that announce one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.verify import registry
from lorascale_lint.verify.report import VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.steps import KeyStyle
from lorascale_lint.verify.verdicts import Row, Verdict
from tests.documents import write_examples

DOCS = Path(__file__).parents[2] / "docs" / "drivers.md"

PROJECT = '''
"""A project's merge."""


def merge_adapter(weight, down, up, alpha):
    return weight + {scale} * (up @ down)
'''

DRIVER = """
from adapters import merge_adapter


def merge(weight, a, b, alpha):
    return merge_adapter(weight, a, b, alpha)
"""

RIGHT = "(1.0 if alpha is None else alpha / down.shape[0])"


def project(folder: Path, scale: str, driver: str = DRIVER) -> Path:
    (folder / "src").mkdir()
    (folder / "src" / "adapters.py").write_text(PROJECT.format(scale=scale))
    (folder / "verify_driver.py").write_text(driver)
    return folder


def row(report: VerifyReport, scenario: str) -> Row:
    (found,) = (row for row in report.rows if row.scenario == scenario)
    return found


def test_a_function_is_a_driver(tmp_path: Path) -> None:
    folder = project(tmp_path, RIGHT)
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:merge", seed=3)
    assert report.exit_code == 0, render_text(report)
    assert row(report, "merged, layer, alpha 2.4").observed == pytest.approx(0.3, rel=1e-6)
    assert row(report, "unmerged forward, layer, alpha 4").verdict is Verdict.UNSUPPORTED
    # An alpha that the function wants is not replaced by None.
    assert row(report, "merged, layer, alpha missing").verdict is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [
        ("1.0", Verdict.ALPHA_IGNORED),
        ("down.shape[0] / alpha", Verdict.INVERTED),
        ("(alpha / down.shape[0]) ** 2", Verdict.DOUBLE_SCALED),
        ("alpha", Verdict.RANK_IGNORED),
        ("missing_name", Verdict.CRASHED),
    ],
)
def test_mistakes_of_a_function_are_named(tmp_path: Path, scale: str, verdict: Verdict) -> None:
    folder = project(tmp_path, scale)
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:merge")
    assert report.exit_code == 1
    assert row(report, "merged, layer, alpha 4").verdict is verdict


LOADER = """
from adapters import merge_adapter
from safetensors.numpy import load_file


class Loader:
    layers = {"one": (30, 20), "two": (18, 26)}
    styles = ("kohya",)

    def merge(self, weight, a, b, alpha=None, strength=1.0):
        weight += strength * (merge_adapter(weight, a, b, alpha) - weight)

    def unmerge(self, weight, a, b, alpha=None, strength=1.0):
        return weight - strength * (merge_adapter(weight, a, b, alpha) - weight)

    def forward(self, x, weight, bias, a, b, rank, alpha=None, strength=1.0):
        scale = 1.0 if alpha is None else alpha / rank
        return x @ weight.T + bias + strength * scale * (x @ a.T @ b.T)

    def load(self, weights, folder, strength):
        (file,) = folder.glob("*.safetensors")
        tensors = load_file(file)
        for name in weights:
            a, b = (tensors[f"{name}.lora_{part}.weight"] for part in ("down", "up"))
            alpha = tensors.get(f"{name}.alpha")
            new = merge_adapter(weights[name], a, b, None if alpha is None else float(alpha))
            weights[name] = weights[name] + strength * (new - weights[name])
"""


def test_a_loader_is_asked_all_that_it_offers(tmp_path: Path) -> None:
    folder = project(tmp_path, RIGHT, LOADER)
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:Loader")
    assert report.exit_code == 0, render_text(report)
    for scenario in (
        "merged, layer, alpha missing",
        "unmerged forward, layer, alpha 4",
        "unmerged forward, strength .5, alpha 6",
        "file with lora_down/lora_up + .alpha of alpha 2.4, plain names",
        "file with lora_down/lora_up + .alpha, alpha and rank of every layer its own",
    ):
        assert row(report, scenario).verdict is Verdict.OK, scenario
    # Nothing is said against a loader for files that it does not claim to read.
    assert row(report, "file with .lora_alpha, plain names").verdict is Verdict.UNSUPPORTED


def test_the_project_names_its_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path, RIGHT)
    (folder / "pyproject.toml").write_text(
        '[tool.lorascale-lint.verify]\ndriver = "verify_driver.py:merge"\n'
    )
    monkeypatch.chdir(Path(__file__).parent)
    assert cli.run(["verify", str(folder)]) == 0
    assert "matches" in capsys.readouterr().out
    assert cli.run(["verify", str(folder / "src"), "--driver", "fastvideo"]) == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("verify = 3", "must be a table"),
        ("verify.drivers = 'x'", "did you mean 'driver'"),
        ("verify.driver = 3", "must be a string"),
    ],
)
def test_a_setting_that_means_nothing_is_an_error(
    tmp_path: Path, table: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.lorascale-lint]\n{table}\n")
    assert cli.run(["verify", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


ANNOUNCING = """
from lorascale_lint.verify.registry import DriverEntry

ENTRY = DriverEntry(
    name="theirs",
    factory="their_driver:Loader",
    locate=lambda path: path if (path / "src" / "adapters.py").is_file() else None,
    looks_for="their tree",
)
"""


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that announces a driver, and one that announces a broken one."""
    installed = tmp_path / "installed"
    info = installed / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINT_GROUP}]\ntheirs = their_entry:ENTRY\nbroken = nowhere_at_all:ENTRY\n"
    )
    (installed / "their_entry.py").write_text(ANNOUNCING)
    (installed / "their_driver.py").write_text(LOADER)
    monkeypatch.syspath_prepend(installed)
    yield installed
    sys.modules.pop("their_entry", None)


def test_drivers_of_installed_packages_are_found(
    announced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    project(folder, RIGHT)
    entry, package = registry.choose(folder)
    assert (entry.name, package) == ("theirs", folder)
    assert registry.choose(folder, "theirs")[0] is entry
    with pytest.raises(registry.UnknownDriverError, match="nowhere_at_all"):
        registry.choose(folder, "broken")
    assert cli.run(["verify", "--list-drivers"]) == 0
    listed = capsys.readouterr().out
    assert all(words in listed for words in ("fastvideo", "their tree", "broken", "cannot be used"))


def test_a_path_is_needed_unless_drivers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify"]) == 2
    assert "PATH" in capsys.readouterr().err


def test_parameters_that_nobody_offers_are_named(tmp_path: Path) -> None:
    folder = project(tmp_path, RIGHT, "def merge(weight, a, b, config):\n    return weight\n")
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:merge")
    assert "config" in row(report, "merged, layer, alpha 4").detail
    assert "strength" in row(report, "merged, layer, alpha 4").detail


@pytest.mark.parametrize("reference", ["verify_driver.py:nothing", "missing.py:merge", "verify_driver.py:x"])
def test_a_driver_that_is_none_is_an_error(tmp_path: Path, reference: str) -> None:
    folder = project(tmp_path, RIGHT, "x = 3\n")
    assert run_verify(folder, driver=str(folder / reference)).exit_code == 2


def test_the_documented_examples_work(tmp_path: Path) -> None:
    files = {file.name: file for file in write_examples(DOCS, tmp_path)}
    assert cli.run(["verify", str(tmp_path)]) == 0  # as pyproject.toml says
    loader = run_verify(tmp_path, driver=f"{files['loader_driver.py']}:Loader")
    assert loader.exit_code == 0, render_text(loader)
    assert row(loader, "file with lora_down/lora_up + .alpha of alpha 0.5, plain names").verdict is Verdict.OK
    files["adapters.py"].write_text(files["adapters.py"].read_text().replace("scale * (up", "(up"))
    broken = run_verify(tmp_path, driver=f"{files['verify_driver.py']}:merge")
    assert row(broken, "merged, layer, alpha 4").verdict is Verdict.ALPHA_IGNORED


def test_all_key_styles_are_documented() -> None:
    text = DOCS.read_text()
    assert all(f"`{style.name.lower().replace('_', '-')}`" in text for style in KeyStyle)
