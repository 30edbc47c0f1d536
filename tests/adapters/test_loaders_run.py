"""`inspect` foretells what a loader makes of a file; `verify --matrix` runs it: published packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome as Predicted, Prediction
from lorascale_lint.knowledge.loaders import loader_named
from lorascale_lint.knowledge.reading import Loader
from lorascale_lint.verify.file_kinds import FILE_KINDS, write_file
from lorascale_lint.verify.matrix import Cell, Outcome, run_matrix
from lorascale_lint.verify.registry import DRIVERS, choose

Tree = Callable[[str, str], Path]

# Package, version, the loader's name in the table, and how many kinds of files something is predicted for.
_PACKAGES = (
    ("fastvideo", "0.1.6", "fastvideo-0.1.6", 15),
    ("fastvideo", "0.1.7", "fastvideo-0.1.7", 15),
    ("fastvideo", "0.2.1", "fastvideo-0.2.1", 15),
    ("diffsynth", "1.1.9", "diffsynth-1", 15),
    ("diffsynth", "2.1.12", "diffsynth-2", 15),
    ("peft", "0.21.2", "peft", 15),
    ("diffusers", "0.42.1", "diffusers-wan", 14),
    ("lycoris-lora", "4.1.3", "lycoris", 15),
)


def agree(prediction: Prediction, cell: Cell) -> bool:
    """Nothing is predicted, or what happened."""
    if prediction.outcome is Predicted.UNKNOWN:
        return True
    if prediction.outcome is Predicted.REFUSED:
        return cell.outcome is Outcome.LOAD_ERROR
    if prediction.outcome is Predicted.NOTHING:
        return cell.outcome is Outcome.NOTHING
    if cell.outcome not in (Outcome.RIGHT, Outcome.WRONG):
        return False
    observed = pytest.approx(cell.row.observed, rel=1e-5)
    if prediction.outcome is Predicted.DEPENDS:
        return observed in (prediction.low, prediction.high)
    return prediction.low == observed == prediction.high


def said_and_true(tree: Path, package: str, loader: str, folder: Path) -> int:
    """How many kinds of files something is predicted for; each prediction comes true."""
    (column,) = run_matrix([(tree, None)]).columns
    known = loader_named(loader)
    assert isinstance(known, Loader)
    said = 0
    for number, (title, style, alpha) in enumerate(FILE_KINDS):
        file = write_file(
            folder / str(number), style, alpha, "transformer." if package == "diffusers" else ""
        )
        (prediction,) = inspect_file(file, [known]).predictions
        cell = column.cell(title)
        assert cell is not None
        assert agree(prediction, cell), (title, prediction.outcome, prediction.low, cell.text)
        said += prediction.outcome is not Predicted.UNKNOWN
    return said


@pytest.mark.network
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("package", "version", "loader", "predicted"),
    [row if row[1] == "0.1.6" else pytest.param(*row, marks=pytest.mark.slow) for row in _PACKAGES],
)
def test_predictions_come_true(
    package: str, version: str, loader: str, predicted: int, published_tree: Tree, tmp_path: Path
) -> None:
    tree = published_tree(package, version)
    entry, _ = choose(tree)
    needed = [item.package for item in entry.requirements if importlib.util.find_spec(item.module) is None]
    if needed:
        pytest.skip(f"needs {', '.join(needed)}")
    assert said_and_true(tree, package, loader, tmp_path) == predicted


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("module", "package", "loader"),
    [("peft", "peft", "peft"), ("lycoris", "lycoris-lora", "lycoris")],
)
def test_predictions_hold_for_what_is_installed(
    module: str, package: str, loader: str, tmp_path: Path
) -> None:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or importlib.util.find_spec("torch") is None:
        pytest.skip(f"needs {package} and torch")
    assert said_and_true(Path(found.origin).parent, package, loader, tmp_path) >= 14


def test_every_driver_of_a_loader_is_compared() -> None:
    # LongCat-Video is on no package index; docs/verification has its column.
    packages = {package.removesuffix("-lora") for package, *_ in _PACKAGES}
    assert packages == {entry.name for entry in DRIVERS} - {"longcat"}
