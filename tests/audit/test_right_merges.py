"""What PEFT's own `merge_and_unload` stores is never blamed, in no type, however small the delta."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.audit.report import render_text
from lorascale_lint.audit.verdicts import Verdict
from tests.audit.models import DTYPES, load, lora, make, peft, save, torch, verdicts

CONFIGS: dict[str, Callable[[], Any]] = {
    "LoRA": lora,
    "rsLoRA": lambda: lora(use_rslora=True),
    "patterns": lambda: lora(rank_pattern={"to_v": 2}, alpha_pattern={r"^blocks\.1\.to_v": 16}),
    "convolutions, embedding, saved head": lambda: lora(
        target_modules=["conv", "pointwise", "embed", "to_q"], modules_to_save=["head"]
    ),
    "DoRA": lambda: lora(use_dora=True, target_modules=["to_q", "to_v", "conv", "embed"]),
    "bias": lambda: lora(target_modules=["to_q"], lora_bias=True),
    "LoHa": lambda: peft.LoHaConfig(r=4, alpha=2, target_modules=["to_q", "to_v", "conv"]),
    "LoKr": lambda: peft.LoKrConfig(r=4, alpha=2, target_modules=["to_q", "to_v", "conv"]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_right_merge(kind: str, dtype: str, tmp_path: Path) -> None:
    for number, (size, adapter_dtype) in enumerate([(0.3, "F32"), (0.1, dtype)]):
        case = make(
            tmp_path / str(number), CONFIGS[kind](), dtype=dtype, size=size, adapter_dtype=adapter_dtype
        )
        audit = case.audit()
        assert audit.exit_code == 0, render_text(audit)
        right = {Verdict.MATCHES.value, Verdict.ROUNDING_ONLY.value}
        assert set(verdicts(audit).values()) <= right, render_text(audit)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_a_delta_that_rounding_swallows_most_of(dtype: str, tmp_path: Path) -> None:
    case = make(tmp_path, lora(), dtype=dtype, size=0.003)
    audit = case.audit()
    assert audit.exit_code == 0, render_text(audit)
    assert Verdict.ROUNDING_ONLY.value in verdicts(audit).values()
    for item in audit.judgements:
        if item.verdict is Verdict.ROUNDING_ONLY:
            # The fitted scale is wrong; that is why the stored sums are compared.
            assert abs(item.observed[0] / 0.5 - 1) > 0.01


def test_a_delta_that_rounding_swallows_whole_proves_nothing(tmp_path: Path) -> None:
    audit = make(tmp_path, lora(), dtype="BF16", size=1e-4).audit()
    assert set(verdicts(audit).values()) == {"leaves no trace"}
    assert audit.exit_code == 3


def test_an_adapter_of_zeros_proves_nothing(tmp_path: Path) -> None:
    audit = make(tmp_path, lora(), size=0.0).audit()
    assert set(verdicts(audit).values()) == {"leaves no trace"}
    assert audit.exit_code == 3


@pytest.mark.parametrize(
    ("base", "merged"), [("F32", "BF16"), ("F32", "F16"), ("BF16", "F32"), ("BF16", "F16")]
)
@pytest.mark.parametrize("first", ["merge", "cast"])
def test_another_type_after_the_merge_or_before_it(
    base: str, merged: str, first: str, tmp_path: Path
) -> None:
    for size in (0.1, 0.01):
        case = make(tmp_path / str(size), lora(), dtype=base, size=size)
        if first == "merge":
            stored = {name: value.to(DTYPES[merged]) for name, value in load(case.merged).items()}
            save(case.merged, stored)
            audit = case.audit()
        else:
            audit = case.merged_by_hand(
                lambda _, weight, delta: (weight.to(DTYPES[merged]).float() + 0.5 * delta).to(DTYPES[merged])
            )
        assert audit.exit_code == 0, render_text(audit)


def test_a_scale_that_is_no_power_of_two(tmp_path: Path) -> None:
    for dtype in DTYPES:
        audit = make(tmp_path / dtype, lora(r=7, lora_alpha=5), dtype=dtype).audit()
        assert audit.exit_code == 0, render_text(audit)
        for item in audit.judgements:
            if item.expected:
                assert item.expected == (pytest.approx(5 / 7),)
                assert item.observed[0] == pytest.approx(5 / 7, rel=1e-5 if dtype == "F32" else 0.02)


def test_several_adapters_with_strengths(tmp_path: Path) -> None:
    for dtype, at_once in (("F32", False), ("BF16", False), ("BF16", True), ("F16", False)):
        folder = tmp_path / f"{dtype}-{at_once}"
        one = make(folder, lora(), dtype=dtype)
        other = make(folder / "other", lora(r=4, lora_alpha=8), dtype=dtype, seed=1)
        save(one.base, load(other.base))
        scales = ((one.adapter, 0.5 * 1.0), (other.adapter, 2.0 * 0.25))
        merged = load(one.base)
        for name, weight in merged.items():
            key = f"base_model.model.{name.removesuffix('.weight')}"
            total = weight.float()
            for path, scale in scales:
                factors = load(path / "adapter_model.safetensors")
                if f"{key}.lora_A.weight" in factors:
                    total = total + scale * (
                        factors[f"{key}.lora_B.weight"] @ factors[f"{key}.lora_A.weight"]
                    )
                    if not at_once:
                        total = total.to(DTYPES[dtype]).float()
            merged[name] = total.to(DTYPES[dtype])
        save(one.merged, merged)
        one.adapters = (str(one.adapter), f"{other.adapter}=0.25")
        audit = one.audit()
        assert audit.exit_code == 0, render_text(audit)
        both = next(item for item in audit.judgements if item.adapted)
        assert both.expected == (0.5, 0.5)
        assert both.observed == pytest.approx((0.5, 0.5), rel=0.02)
        # Taken for applied at full strength, the second one is seen to be at a quarter.
        one.adapters = (str(one.adapter), str(other.adapter))
        wrong = one.audit()
        assert wrong.exit_code == 1
        both = next(item for item in wrong.judgements if item.adapted)
        assert both.observed == pytest.approx((0.5, 0.5), rel=0.02)


def tf32(values: Any) -> Any:
    """A float32 as tensor cores take it: 10 bits of fraction."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_of_a_gpu_is_not_blamed(dtype: str, tmp_path: Path) -> None:
    case = make(tmp_path, lora(), dtype=dtype)
    factors = load(case.adapter / "adapter_model.safetensors")
    merges: dict[str, Callable[[Any, Any], Any]] = {
        "TF32": lambda b, a: 0.5 * (tf32(b) @ tf32(a)),
        "half sums": lambda b, a: (0.5 * (b.half() @ a.half())).float(),
    }
    for name, delta_of in merges.items():
        merged = load(case.base)
        for key in [key for key in factors if key.endswith(".lora_A.weight")]:
            module = key.removesuffix(".lora_A.weight")
            weight = f"{module.removeprefix('base_model.model.')}.weight"
            delta = delta_of(factors[f"{module}.lora_B.weight"], factors[key])
            merged[weight] = (merged[weight].float() + delta).to(DTYPES[dtype])
        save(case.merged, merged)
        audit = case.audit()
        assert set(verdicts(audit).values()) == {"matches"}, (name, render_text(audit))
        if dtype == "F32":
            # It is said, not hidden.
            assert "elements are a rounding off every replay" in render_text(audit)
