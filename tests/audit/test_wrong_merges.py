"""Each way in which a merge can be wrong has its name, in each type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.audit.report import render_text
from tests.audit.models import DTYPES, WIDTH, load, lora, make, save, torch, verdicts

# Rank 8 and alpha 12: no two of these scales are one number.
ALPHA, SCALE = 12, 1.5
WRONG: dict[str, float] = {
    "alpha ignored": 1.0,
    "raw alpha": ALPHA,
    "squared": SCALE**2,
    "inverted": 1 / SCALE,
    "applied twice": 2 * SCALE,
    "subtracted": -SCALE,
    "another scale": 0.37,
    "not applied": 0.0,
}


def stored(weight: Any, scaled: Any) -> Any:
    return (weight.float() + scaled).to(weight.dtype)


# In bfloat16 rounding swallows part of a delta of the smaller size.
SIZES = [*((dtype, 0.1) for dtype in DTYPES), ("BF16", 0.01)]


@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_a_wrong_scale(dtype: str, size: float, tmp_path: Path) -> None:
    case = make(tmp_path, lora(lora_alpha=ALPHA), dtype=dtype, size=size)
    for name, scale in WRONG.items():
        audit = case.merged_by_hand(lambda _, weight, delta, scale=scale: stored(weight, scale * delta))
        assert set(verdicts(audit).values()) == {name}, render_text(audit)
        assert audit.exit_code == 1
        if dtype == "F32":
            observed = [item.observed[0] for item in audit.judgements if item.adapted]
            assert observed == pytest.approx([scale] * 4, rel=1e-4, abs=1e-4)


def test_the_summary_says_how_strong_the_error_is(tmp_path: Path) -> None:
    case = make(tmp_path, lora())
    audit = case.merged_by_hand(
        lambda name, weight, delta: stored(weight, (1.0 if "to_v" in name else 0.5) * delta)
    )
    words = "4 modules: 2 match, 2 alpha ignored (2x the trained strength)"
    assert audit.summary.startswith(words)
    # The worst first.
    lines = render_text(audit).splitlines()
    assert "alpha ignored" in next(line for line in lines if "to_v" in line)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_strength_that_is_a_little_off(dtype: str, tmp_path: Path) -> None:
    case = make(tmp_path, lora(), dtype=dtype, size=0.3)
    audit = case.merged_by_hand(lambda _, weight, delta: stored(weight, 0.5 * 1.01 * delta))
    assert set(verdicts(audit).values()) == {"another scale"}, render_text(audit)


@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_only_some_rows(dtype: str, size: float, tmp_path: Path) -> None:
    def half(_: str, weight: Any, delta: Any) -> Any:
        delta[: len(delta) // 2] = 0
        return stored(weight, SCALE * delta)

    audit = make(tmp_path, lora(lora_alpha=ALPHA), dtype=dtype, size=size).merged_by_hand(half)
    assert set(verdicts(audit).values()) == {"partially applied"}, render_text(audit)
    if size == 0.1:
        details = {item.detail for item in audit.judgements if item.name.endswith("0.to_q")}
        middle = WIDTH // 2
        expected = f"rows 0 to {middle - 1} not applied, rows {middle} to {WIDTH - 1} as trained"
        assert details == {expected}


def test_one_row_of_many_is_seen(tmp_path: Path) -> None:
    def but_one(_: str, weight: Any, delta: Any) -> Any:
        delta[5] = 0
        return stored(weight, SCALE * delta)

    for dtype in DTYPES:
        audit = make(tmp_path / dtype, lora(lora_alpha=ALPHA), dtype=dtype).merged_by_hand(but_one)
        assert set(verdicts(audit).values()) == {"partially applied"}, render_text(audit)


def test_only_some_ranks(tmp_path: Path) -> None:
    for dtype in DTYPES:
        case = make(tmp_path / dtype, lora(lora_alpha=ALPHA), dtype=dtype, size=0.3)
        factors = load(case.adapter / "adapter_model.safetensors")

        def half(name: str, weight: Any, _: Any, factors: Any = factors) -> Any:
            key = f"base_model.model.{name.removesuffix('.weight')}"
            b, a = factors[f"{key}.lora_B.weight"].float(), factors[f"{key}.lora_A.weight"].float()
            return stored(weight, SCALE * (b[:, :4] @ a[:4]))

        audit = case.merged_by_hand(half)
        assert set(verdicts(audit).values()) == {"partially applied"}, render_text(audit)
        assert {item.detail for item in audit.judgements if item.adapted} == {
            "4 of 8 ranks as trained, the others not applied"
        }


def test_a_transposed_delta(tmp_path: Path) -> None:
    for dtype in DTYPES:
        case = make(tmp_path / dtype, lora(target_modules=["to_q"]), dtype=dtype)
        audit = case.merged_by_hand(lambda _, weight, delta: stored(weight, 0.5 * delta.T))
        assert set(verdicts(audit).values()) == {"transposed"}, render_text(audit)


def test_another_delta(tmp_path: Path) -> None:
    for dtype in DTYPES:
        audit = make(tmp_path / dtype, lora(), dtype=dtype).merged_by_hand(
            lambda _, weight, delta: stored(weight, 0.5 * torch.randn_like(delta))
        )
        assert set(verdicts(audit).values()) == {"differs otherwise"}, render_text(audit)
        assert audit.exit_code == 1


def test_nan_in_the_merged_weight(tmp_path: Path) -> None:
    def broken(_: str, weight: Any, delta: Any) -> Any:
        merged = stored(weight, 0.5 * delta)
        merged[0, 0] = float("nan")
        return merged

    audit = make(tmp_path, lora()).merged_by_hand(broken)
    assert set(verdicts(audit).values()) == {"differs otherwise"}
    assert "NaN" in render_text(audit)


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [("rsLoRA ignored", 1.5, 12 / 8**0.5), ("alpha truncated", 12 / 8**0.5, 12.75 / 8**0.5)],
)
def test_mistakes_with_rslora_and_fractions(name: str, scale: float, expected: float, tmp_path: Path) -> None:
    alpha = 12.75 if name == "alpha truncated" else 12
    case = make(tmp_path, lora(lora_alpha=alpha, use_rslora=True))
    audit = case.merged_by_hand(lambda _, weight, delta: stored(weight, scale * delta))
    assert set(verdicts(audit).values()) == {name}, render_text(audit)
    assert {round(item.expected[0], 6) for item in audit.judgements if item.adapted} == {round(expected, 6)}


def test_a_strength_that_was_ignored(tmp_path: Path) -> None:
    case = make(tmp_path, lora(lora_alpha=ALPHA))
    case.adapters = (f"{case.adapter}=0.75",)
    audit = case.audit()
    assert set(verdicts(audit).values()) == {"strength ignored"}, render_text(audit)


def test_dora_without_its_magnitude(tmp_path: Path) -> None:
    for dtype in DTYPES:
        case = make(tmp_path / dtype, lora(use_dora=True), dtype=dtype, size=0.3)
        audit = case.merged_by_hand(lambda _, weight, delta: stored(weight, 0.5 * delta))
        assert set(verdicts(audit).values()) == {"magnitude ignored"}, render_text(audit)


def test_dora_at_a_wrong_scale(tmp_path: Path) -> None:
    for dtype in DTYPES:
        case = make(tmp_path / dtype, lora(use_dora=True), dtype=dtype, size=0.3)
        factors = load(case.adapter / "adapter_model.safetensors")

        def wrong(name: str, weight: Any, delta: Any, factors: Any = factors) -> Any:
            magnitude = factors[f"base_model.model.{name.removesuffix('.weight')}.lora_magnitude_vector"]
            total = weight.float() + 1.0 * delta
            return (total * (magnitude / total.norm(dim=1))[:, None]).to(weight.dtype)

        audit = case.merged_by_hand(wrong)
        assert set(verdicts(audit).values()) == {"alpha ignored"}, render_text(audit)
        for item in audit.judgements:
            if item.adapted:
                assert item.observed[0] == pytest.approx(1.0, rel=0.02)


def test_saved_modules_that_were_not_taken_over(tmp_path: Path) -> None:
    case = make(tmp_path, lora(modules_to_save=["head"]))
    merged = load(case.merged)
    save(case.merged, merged | {"head.weight": load(case.base)["head.weight"]})
    found = verdicts(case.audit())
    assert (found["head.weight"], found["head.bias"]) == ("not applied", "matches")


def test_tensors_that_the_adapter_does_not_touch(tmp_path: Path) -> None:
    case = make(tmp_path, lora())
    merged = load(case.merged)
    merged["blocks.0.norm.weight"][3] += 1
    save(case.merged, merged)
    audit = case.audit()
    changed = [item for item in audit.judgements if not item.adapted and item.verdict.is_wrong]
    assert [(item.name, item.detail) for item in changed] == [
        ("blocks.0.norm.weight", f"1 of {WIDTH} elements")
    ]
    assert audit.exit_code == 1
    assert "1 changed, though untouched by the adapter" in audit.summary


def test_only_one_of_two_adapters(tmp_path: Path) -> None:
    change: Callable[[str, Any, Any], Any] = lambda _, weight, delta: stored(weight, 0.5 * delta)  # noqa: E731
    for dtype in DTYPES:
        case = make(tmp_path / dtype, lora(), dtype=dtype)
        other = make(tmp_path / dtype / "other", lora(r=4, lora_alpha=12), dtype=dtype, seed=1)
        case.adapters = (str(case.adapter), str(other.adapter))
        audit = case.merged_by_hand(change)
        assert set(verdicts(audit).values()) == {"not applied"}, render_text(audit)
        assert {item.detail for item in audit.judgements if item.adapted} == {"adapter 2 only"}
