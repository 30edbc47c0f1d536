"""Mistakes planted in a small torch implementation, in every floating-point type: each has its name.

Run in this process: what the child adds is tested elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorascale_lint.verify.examination import examine
from lorascale_lint.verify.own import OwnDriver
from lorascale_lint.verify.protocol import Capability, Form, LayerKind
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.verdicts import Row, Verdict

torch = pytest.importorskip("torch", reason="needs torch (extra verify)")

DTYPES = ["float32", "float16", "bfloat16"]


class Right:
    """A right implementation; subclasses are wrong in one thing each."""

    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength * (1.0 if alpha is None else alpha / rank)

    def delta(self, a: Any, b: Any, alpha: float | None, rank: int, strength: float) -> Any:
        return self.scale(alpha, rank, strength) * (b @ a)

    def merge(
        self, weight: Any, a: Any, b: Any, rank: int, alpha: float | None = None, strength: float = 1.0
    ) -> Any:
        return weight + self.delta(a, b, alpha, rank, strength)

    def unmerge(
        self, weight: Any, a: Any, b: Any, rank: int, alpha: float | None = None, strength: float = 1.0
    ) -> Any:
        return weight - self.delta(a, b, alpha, rank, strength)

    def forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        a: Any,
        b: Any,
        rank: int,
        alpha: float | None = None,
        strength: float = 1.0,
    ) -> Any:
        base = torch.nn.functional.linear(x, weight, bias)
        return base + self.scale(alpha, rank, strength) * (x @ a.T @ b.T)


class Unscaled(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength


class Inverted(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength * (1.0 if alpha is None else rank / alpha)


class Double(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength * (1.0 if alpha is None else (alpha / rank) ** 2)


class Truncated(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength * (1.0 if alpha is None else int(alpha) / rank)


class Undivided(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return strength * (1.0 if alpha is None else alpha)


class Strengthless(Right):
    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        return 1.0 if alpha is None else alpha / rank


class Misoriented(Right):
    def delta(self, a: Any, b: Any, alpha: float | None, rank: int, strength: float) -> Any:
        # Transposed and brought back into shape by force, as a reshape does.
        right = super().delta(a, b, alpha, rank, strength)
        return right.T.reshape(right.shape)


class Residual(Right):
    def unmerge(
        self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0
    ) -> Any:
        return weight - strength * (b @ a)


class Stale(Right):
    last: float | None = None

    def scale(self, alpha: float | None, rank: int, strength: float) -> float:
        self.last = self.last if alpha is None else alpha
        return super().scale(self.last, rank, strength)


class HalfOfQkv(Right):
    def delta(self, a: Any, b: Any, alpha: float | None, rank: int, strength: float) -> Any:
        right = super().delta(a, b, alpha, rank, strength).clone()
        part = len(right) // 4
        right[part : 2 * part] = strength * (b @ a)[part : 2 * part]
        return right


class ForwardOnly(Right):
    def forward(self, x: Any, weight: Any, bias: Any, a: Any, b: Any, rank: int, **more: Any) -> Any:
        return torch.nn.functional.linear(x, weight, bias) + x @ a.T @ b.T


class NotFinite(Right):
    def delta(self, a: Any, b: Any, alpha: float | None, rank: int, strength: float) -> Any:
        return super().delta(a, b, alpha, rank, strength) * float("nan")


class Overflow(Right):
    def delta(self, a: Any, b: Any, alpha: float | None, rank: int, strength: float) -> Any:
        # alpha / rank taken too late: the product times alpha leaves the range of fp16.
        return (b * 4096) @ (a * 4096) / 4096**2 * self.scale(alpha, rank, strength)


class Unwritten(Right):
    def merge(self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0) -> Any:
        merged = torch.empty_like(weight)
        merged[: len(weight) // 2] = super().merge(weight, a, b, rank, alpha, strength)[: len(weight) // 2]
        return merged


def ask(loader: Any, dtype: str, tmp_path: Path, seed: int = 7, title: str = "") -> dict[str, Row]:
    """What `verify` says about a loader: title to row; with ``title``, of its scenario alone."""
    driver = OwnDriver(loader, name="planted")
    rows: list[Row] = []
    for scenario in scenarios([LayerKind("layer")], driver.capabilities, dtype=dtype):
        if title.startswith(scenario.name) or not title:
            examine(scenario, driver, seed, tmp_path, rows.append)
    return {f"{row.title} [{row.adapter}]" if row.adapter else row.title: row for row in rows}


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Any:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loader", "title", "verdict"),
    [
        (Unscaled, "merged, layer, alpha 4", Verdict.ALPHA_IGNORED),
        (Unscaled, "unmerged forward, layer, alpha 4", Verdict.ALPHA_IGNORED),
        (Inverted, "merged, layer, alpha 4", Verdict.INVERTED),
        (Double, "merged, layer, alpha 4", Verdict.DOUBLE_SCALED),
        (Truncated, "merged, layer, alpha 2.4", Verdict.TRUNCATED),
        (Undivided, "merged, layer, alpha 4", Verdict.RANK_IGNORED),
        (Strengthless, "merged, strength .5, alpha 6", Verdict.STRENGTH_IGNORED),
        (Misoriented, "merged, layer, alpha 4", Verdict.WRONG_DIRECTION),
        (Residual, "unmerge, layer: after unmerge", Verdict.RESIDUAL_AFTER_UNMERGE),
        (Stale, "factors with alpha 6, then others without alpha [B]", Verdict.STALE_ALPHA),
        (HalfOfQkv, "merged, layer, alpha 4", Verdict.MIXED_SCALE),
        (ForwardOnly, "unmerged forward, layer, alpha 4", Verdict.ALPHA_IGNORED),
        (NotFinite, "merged, layer, alpha 4", Verdict.ERROR),
        (Unwritten, "merged, layer, alpha 4", Verdict.ERROR),
    ],
)
def test_planted_errors_have_names(
    loader: Any, title: str, verdict: Verdict, dtype: str, tmp_path: Path
) -> None:
    found = ask(loader, dtype, tmp_path, title=title)[title]
    assert (found.verdict, found.dtype) == (verdict, dtype), found


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_merge_does_not_hide_a_wrong_forward(dtype: str, tmp_path: Path) -> None:
    rows = ask(ForwardOnly, dtype, tmp_path)
    assert rows["merged, layer, alpha 4"].verdict is Verdict.OK


def test_fp16_overflows_where_bf16_does_not(tmp_path: Path) -> None:
    assert ask(Overflow, "float16", tmp_path)["merged, layer, alpha 4"].verdict is Verdict.ERROR
    assert ask(Overflow, "bfloat16", tmp_path)["merged, layer, alpha 4"].verdict is Verdict.OK


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("loader", "verdict"),
    [
        (Right, Verdict.OK),
        (Unscaled, Verdict.ALPHA_IGNORED),
        (Inverted, Verdict.INVERTED),
        (Double, Verdict.DOUBLE_SCALED),
        (Undivided, Verdict.RANK_IGNORED),
        (Misoriented, Verdict.WRONG_SCALE),
    ],
)
def test_deltas_below_the_rounding_of_the_weight_are_judged(
    loader: Any, verdict: Verdict, dtype: str, tmp_path: Path
) -> None:
    title = f"merged, layer, alpha 4, {dtype}, delta a thousandth of the weight"
    # In trial 167 the rounding of the product alone changes a quarter of what little is stored of the delta.
    for seed in (*range(8), 167):
        found = ask(loader, "float32", tmp_path, seed, title)[title]
        assert found.verdict is verdict, (seed, found)


def test_the_parts_of_a_fused_layer_are_named(tmp_path: Path) -> None:
    found = ask(HalfOfQkv, "float32", tmp_path)["merged, layer, alpha 4"]
    assert "at 0.5, rows" in found.detail
    assert "at 1, rows" in found.detail


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 15), marks=pytest.mark.slow)])
def test_right_code_never_fails(seeds: range, dtype: str, tmp_path: Path) -> None:
    """A sample of benchmarks/verify_trials.py."""
    for seed in seeds:
        for row in ask(Right, dtype, tmp_path, seed).values():
            assert not row.is_failure, (seed, row)


class Hadamard:
    """LoHa's delta in a driver of one's own, with the scale twice on purpose."""

    capabilities = frozenset({Capability.LAYER_SETTER_ALPHA})
    layer_kinds = (LayerKind("LoHa", form=Form.HADAMARD), LayerKind("LoKr", form=Form.KRONECKER))
    model_layers = ()

    def __init__(self, power: int) -> None:
        self.power = power

    def make_layer(self, spec: Any, weight: Any, bias: Any) -> Any:
        self.w = np.array(weight)
        return self

    def set_tensors(self, tensors: Any, *, alpha: float | None, strength: float) -> str:
        inner = tensors["b"] @ tensors["a"]
        made = np.kron(tensors["w1"], inner) if "w1" in tensors else inner * (tensors["b2"] @ tensors["a2"])
        scale = 1.0 if alpha is None else alpha / len(tensors["a"])
        self.w = self.w + scale**self.power * made
        return ""

    def weight(self) -> Any:
        return self.w


@pytest.mark.parametrize(("power", "verdict"), [(1, Verdict.OK), (2, Verdict.DOUBLE_SCALED)])
def test_other_forms_have_references(power: int, verdict: Verdict, tmp_path: Path) -> None:
    driver: Any = Hadamard(power)
    rows: list[Row] = []
    for scenario in scenarios(driver.layer_kinds, driver.capabilities):
        if (
            scenario.name.startswith("merged, Lo")
            and "alpha 4" in scenario.name
            and "float" not in scenario.name
        ):
            examine(scenario, driver, 3, tmp_path, rows.append)
    assert [row.verdict for row in rows] == [verdict, verdict]
