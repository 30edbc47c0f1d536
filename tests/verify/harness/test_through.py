"""Applications that nobody can call alone, and factors that are no plain pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.harness.description import Action, Place, Sketch, as_json, read
from lorascale_lint.verify.harness.finding import find_subject
from lorascale_lint.verify.harness.loading import Loading
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.harness.questions import Harness, Question
from lorascale_lint.verify.harness.sketches import sketches_of
from lorascale_lint.verify.verdicts import Verdict

pytest.importorskip("torch")

# The helper is given a layer, and only one that was made with an option.
_HELPERS = """
class Strided:
    @staticmethod
    def add(module, name, x, result):
        return result + module.up[name](module.down[name](x)) * module.{scale}[name]
"""
_LAYERS = """
import torch
from torch import nn
from helpers import Strided


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, adapter_name: str, rank: int, alpha: float, strided=False):
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.ModuleDict({adapter_name: nn.Linear(base_layer.in_features, rank, bias=False)})
        self.up = nn.ModuleDict({adapter_name: nn.Linear(rank, base_layer.out_features, bias=False)})
        self.scaling = {adapter_name: alpha / rank}
        self.inverse = {adapter_name: rank / alpha}
        self.name = adapter_name
        self.how = Strided() if strided else None

    def forward(self, x):
        result = self.base_layer(x)
        if self.how is not None:
            return self.how.add(self, self.name, x, result)
        return result + self.up[self.name](self.down[self.name](x)) * self.scaling[self.name]
"""


def _answers(folder: Path) -> dict[str, Verdict]:
    """The verdict on the trained scale of each application, by file and name."""
    loading = Loading(folder)
    found = {}
    for sketch in read(as_json(sketches_of(folder))):
        subject = find_subject(sketch, loading, 1)  # type: ignore[arg-type]
        found[f"{sketch.place.file} {sketch.place.name}"] = ask(Property.SCALE, subject, 1).verdict
    return found


@pytest.mark.parametrize(("scale", "verdict"), [("scaling", Verdict.OK), ("inverse", Verdict.INVERTED)])
def test_a_helper_is_run_by_the_layer_that_calls_it(scale: str, verdict: Verdict, tmp_path: Path) -> None:
    # A module is imported once in a process.
    helpers = f"helpers_{scale}"
    (tmp_path / f"{helpers}.py").write_text(_HELPERS.format(scale=scale))
    (tmp_path / "layers.py").write_text(_LAYERS.replace("from helpers", f"from {helpers}"))
    found = _answers(tmp_path)
    assert found[f"{helpers}.py Strided.add"] is verdict
    assert found["layers.py Layer.forward"] is Verdict.OK


_MERGED_WHEN_SET = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear):
        super().__init__()
        self.base_layer = base_layer
        self.backup = base_layer.weight.data{copy}
        self.lora_A = self.lora_B = None
        self.merged = False

    def set_lora_weights(self, lora_A, lora_B):
        self.lora_A, self.lora_B = lora_A, lora_B
        self.merge()

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
        self.merged = True

    def unmerge(self):
        self.base_layer.weight.data = self.backup
        self.merged = False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T
"""


@pytest.mark.parametrize(("copy", "left"), [(".clone()", Verdict.OK), ("", Verdict.RESIDUAL_AFTER_UNMERGE)])
def test_a_class_answers_where_its_application_is_not_reached(
    copy: str, left: Verdict, tmp_path: Path
) -> None:
    (tmp_path / "layers.py").write_text(_MERGED_WHEN_SET.replace("{copy}", copy))
    (sketch,) = [item for item in sketches_of(tmp_path) if item.place.action is Action.FORWARD]
    harness = Harness(sketch, Loading(tmp_path), 1)
    assert harness.answer(Property.SCALE).verdict is Verdict.NOT_RUN
    assert harness.answer(Property.UNMERGED).verdict is left


_SCALED_LATER = """
import torch
from torch import nn
from {helpers} import product


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + product(self, x, {wrong}) * self.scaling
"""


@pytest.mark.parametrize(
    ("wrong", "told"), [("1", "map agrees: alpha / rank, through Layer.forward"), ("2", "")]
)
def test_what_a_caller_scales_is_compared_with_its_formula(wrong: str, told: str, tmp_path: Path) -> None:
    helpers = f"products_{wrong}"
    (tmp_path / f"{helpers}.py").write_text(
        "def product(module, x, one):\n    return module.lora_B(module.lora_A(x)) * one\n"
    )
    (tmp_path / "layers.py").write_text(_SCALED_LATER.format(helpers=helpers, wrong=wrong))
    place = Place(f"{helpers}.py", "product", 2, Action.FORWARD, "1")
    (way,) = [item for item in sketches_of(tmp_path) if item.place.owner]
    harness = Harness(Sketch(place, ways=(way,)), Loading(tmp_path), 1)
    detail = Question(harness, Property.SCALE).row().detail
    assert told in detail
    assert "map differs" not in detail if told else "observed: 2" in detail


_PAIR = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Parameter(torch.zeros(rank, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, rank))
        self.scaling = alpha / rank
"""
_NEVER_CALLED = (
    _PAIR
    + """
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling

    def subtract_start(self, base: int, names: list[str], more: object) -> None:
        self.base_layer.weight.data -= self.lora_B @ self.lora_A * self.scaling
"""
)


def test_what_no_call_comes_to_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text(_NEVER_CALLED)
    sketches = {sketch.place.name: sketch for sketch in sketches_of(tmp_path)}
    with pytest.raises(CannotBuildError):
        find_subject(sketches["Layer.subtract_start"], Loading(tmp_path), 1)


_UNSET_FLAG = """
from dataclasses import dataclass
from typing import Optional
import torch
from torch import nn


@dataclass
class Settings:
    r_: Optional[int] = None
    alpha_: Optional[int] = None
    strided_: {kind} = None


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, config: Settings):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, config.r_, bias=False)
        self.lora_B = nn.Linear(config.r_, base_layer.out_features, bias=False)
        self.scaling = config.alpha_ / config.r_
        self.strided = config.strided_

    def strided_forward(self, residual, ways: list, x):
        return residual + self.lora_B(self.lora_A(x)) * self.scaling

    def forward(self, x):
        if self.strided:
            return self.strided_forward(self.base_layer(x), [], x)
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""


@pytest.mark.parametrize("kind", ["bool", "Optional[bool]"])
def test_a_flag_of_settings_that_is_unset_is_an_option(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"unset_{len(kind)}.py").write_text(_UNSET_FLAG.replace("{kind}", kind))
    assert set(_answers(tmp_path).values()) == {Verdict.OK}


_BRANCHES = (
    _PAIR
    + """
    def merge(self):
        if self.base_layer.weight.dtype == torch.uint8:
            self.base_layer.weight.data = unpacked(self.base_layer) + self.lora_B @ self.lora_A * self.scaling
        else:
            self.base_layer.weight.data += self.lora_B @ self.lora_A * self.scaling
"""
)


def test_either_branch_of_an_application_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text(_BRANCHES)
    assert _answers(tmp_path) == {"layers.py Layer.merge": Verdict.OK}


_HADAMARD = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer
        rows, columns = base_layer.weight.shape
        self.hada_w1_a = nn.Parameter(torch.randn(rows, rank))
        self.hada_w1_b = nn.Parameter(torch.randn(rank, columns))
        self.hada_w2_a = nn.Parameter(torch.zeros(rows, rank))
        self.hada_w2_b = nn.Parameter(torch.randn(rank, columns))
        self.scaling = {scale}

    def forward(self, x):
        delta = (self.hada_w1_a @ self.hada_w1_b) * (self.hada_w2_a @ self.hada_w2_b)
        return self.base_layer(x) + nn.functional.linear(x, delta * self.scaling)
"""
_KRONECKER = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float, decompose_factor: int = -1):
        super().__init__()
        self.base_layer = base_layer
        rows, columns = base_layer.weight.shape
        blocks = 1 if decompose_factor == 1 else 5 if rows % 5 == 0 and columns % 5 == 0 else 2
        self.lokr_w1 = nn.Parameter(torch.zeros(blocks, blocks))
        self.lokr_w2_a = nn.Parameter(torch.randn(rows // blocks, rank))
        self.lokr_w2_b = nn.Parameter(torch.randn(rank, columns // blocks))
        self.scaling = {scale}

    def forward(self, x):
        delta = torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b)
        return self.base_layer(x) + nn.functional.linear(x, delta * self.scaling)
"""


@pytest.mark.parametrize("source", [_HADAMARD, _KRONECKER])
@pytest.mark.parametrize(
    ("scale", "verdict"), [("alpha / rank", Verdict.OK), ("rank / alpha", Verdict.INVERTED)]
)
def test_products_of_other_kinds_have_a_scale(
    source: str, scale: str, verdict: Verdict, tmp_path: Path
) -> None:
    (tmp_path / "layers.py").write_text(source.replace("{scale}", scale))
    assert set(_answers(tmp_path).values()) == {verdict}


def test_an_unmerge_comes_after_the_merge_that_changes_the_weight(tmp_path: Path) -> None:
    (tmp_path / "layer.py").write_text(
        """
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().clone())
        self.lora_A = nn.Parameter(torch.zeros(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = alpha / rank
        self.merged = False

    def delta(self):
        return self.lora_B @ self.lora_A * self.scaling

    def forward(self, x):
        weight = self.weight if self.merged else self.merged_weight()
        return x @ weight.T

    def merged_weight(self):
        return self.weight + self.delta()

    def merge_adapter(self):
        if not self.merged:
            self.weight.data.copy_(self.merged_weight())
            self.merged = True

    def unmerge_adapter(self):
        if self.merged:
            self.weight.data.sub_(self.delta())
            self.merged = False
"""
    )
    assert _answers(tmp_path) == {
        "layer.py LoRALinear.merged_weight": Verdict.OK,
        "layer.py LoRALinear.unmerge_adapter": Verdict.OK,
    }
