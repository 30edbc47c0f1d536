"""Predictions for diffusers' pipelines come true, layout by layout, with the diffusers that is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.loaders import loader_named
from tests.adapters.pipelines import (
    PIPELINES,
    Pipeline,
    count_of_foreign,
    foreign_layouts,
    layouts,
    measured,
)

_MISSING = [name for name in ("diffusers", "peft") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(_MISSING), reason="needs diffusers and peft (extra loaders)"),
    pytest.mark.filterwarnings("ignore"),
]

# Nearly all of their code is that of another one.
_SLOW = {"StableDiffusionLoraLoaderMixin", "WanLoraLoaderMixin", "QwenImageLoraLoaderMixin"}
_CASES = [
    pytest.param(item, id=item.mixin, marks=[pytest.mark.slow] if item.mixin in _SLOW else [])
    for item in PIPELINES
]
_KIN = {"diffusers-flux", "diffusers-flux2"}


def came_true(said: Prediction, scale: float | None) -> bool:
    """Nothing was said, or what happened."""
    if said.outcome is Outcome.UNKNOWN:
        return True
    if said.outcome is Outcome.REFUSED or scale is None:
        return said.outcome is Outcome.REFUSED and scale is None
    return scale in (pytest.approx(said.low, rel=1e-3), pytest.approx(said.high, rel=1e-3))


@pytest.mark.parametrize("pipeline", _CASES)
def test_predictions_come_true(pipeline: Pipeline, tmp_path: Path) -> None:
    loader = loader_named(pipeline.loader)
    assert loader is not None
    wrong: list[str] = []
    known = 0
    for number, layout in enumerate(layouts(pipeline)):
        file = tmp_path / str(number) / "pytorch_lora_weights.safetensors"
        file.parent.mkdir()
        scale = measured(pipeline, layout, file)
        try:
            (said,) = inspect_file(file, [loader]).predictions
        except InputError:
            continue
        known += said.outcome is not Outcome.UNKNOWN
        if not came_true(said, scale):
            wrong.append(f"{layout}: {said.outcome}, {said.low} to {said.high}; it was {scale}")
    assert not wrong, "\n".join(wrong)
    assert known >= 55


@pytest.mark.parametrize("pipeline", _CASES)
def test_adapters_of_other_models_are_not_called_right(pipeline: Pipeline, tmp_path: Path) -> None:
    loader = loader_named(pipeline.loader)
    assert loader is not None
    # The first code of Flux and Flux.2 has the same names.
    kin = _KIN if pipeline.loader in _KIN else {pipeline.loader}
    others = [other for other in PIPELINES if other.loader not in kin]
    wrong, known = [], 0
    for number, (other, layout) in enumerate((each, way) for each in others for way in foreign_layouts(each)):
        file = tmp_path / str(number) / "pytorch_lora_weights.safetensors"
        file.parent.mkdir()
        try:
            count = count_of_foreign(pipeline, other, layout, file)
        except NameError:
            continue
        (said,) = inspect_file(file, [loader]).predictions
        expected = Outcome.REFUSED if count is None else Outcome.NOTHING
        known += said.outcome is not Outcome.UNKNOWN
        if said.outcome not in (expected, Outcome.UNKNOWN) or count:
            wrong.append(f"{other.loader} {layout}: {said.outcome}; it was {expected} ({count})")
    assert not wrong, "\n".join(wrong)
    assert known >= 10
