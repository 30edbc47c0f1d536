"""`assert_effective_scale` and the pytest plugin."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorascale_lint import testing
from lorascale_lint.testing import EffectiveScaleError
from lorascale_lint.verify.verdicts import Verdict
from tests.documents import write_examples

ROOT = Path(__file__).parents[2]
# Other tests in this process import torch.
assert_effective_scale = functools.partial(testing.assert_effective_scale, arrays="numpy")

DOCS = ROOT / "docs" / "testing.md"


def right(weight: Any, a: Any, b: Any, alpha: float, rank: int) -> Any:
    return weight + alpha / rank * (b @ a)


def test_right_code_passes_and_tells_what_was_measured() -> None:
    found = assert_effective_scale(right)
    assert [item.expected for item in found] == [0.5, 0.3, 2.0, 0.0625]
    assert all(item.verdict is Verdict.OK for item in found)


@pytest.mark.parametrize(
    ("apply", "verdict"),
    [
        (lambda weight, a, b: weight + b @ a, Verdict.ALPHA_IGNORED),
        (lambda weight, a, b, alpha, rank: weight + rank / alpha * (b @ a), Verdict.INVERTED),
        (lambda weight, a, b, alpha, rank: weight + (alpha / rank) ** 2 * (b @ a), Verdict.DOUBLE_SCALED),
        (lambda weight, a, b, alpha, rank: weight + int(alpha) / rank * (b @ a), Verdict.TRUNCATED),
        (lambda weight, a, b, alpha: weight + alpha * (b @ a), Verdict.RANK_IGNORED),
        (lambda weight: weight, Verdict.NOT_APPLIED),
        (
            lambda weight, a, b, alpha, rank: np.roll(right(weight, a, b, alpha, rank), 1),
            Verdict.WRONG_DIRECTION,
        ),
        (lambda weight, a, b: weight * np.nan, Verdict.ERROR),
        (lambda a, b: b @ a, Verdict.ALPHA_IGNORED),
        (lambda x, weight, a, b: x @ weight.T + x @ a.T @ b.T, Verdict.ALPHA_IGNORED),
    ],
)
def test_mistakes_are_named(apply: Callable[..., Any], verdict: Verdict) -> None:
    with pytest.raises(EffectiveScaleError) as caught:
        assert_effective_scale(apply)
    assert verdict in {item.verdict for item in caught.value.measurements}
    assert f": {verdict.value}" in str(caught.value)
    assert re.search(r"seed=\d+", str(caught.value))


def test_a_weight_may_be_changed_in_place() -> None:
    def merge(weight: Any, a: Any, b: Any, alpha: float, rank: int) -> None:
        weight += alpha / rank * (b @ a)

    assert_effective_scale(merge)


def test_every_way_of_asking() -> None:
    assert_effective_scale(lambda a, b, alpha, rank: alpha / rank * (b @ a))
    assert_effective_scale(
        lambda x, weight, bias, a, b, alpha, rank: x @ weight.T + bias + alpha / rank * (x @ a.T @ b.T)
    )
    assert_effective_scale(lambda x, a, b, alpha, rank: alpha / rank * (x @ a.T @ b.T))
    found = assert_effective_scale(
        lambda weight, a, b, rank, alpha=None, strength=1.0: (
            weight + strength * (1 if alpha is None else alpha / rank) * (b @ a)
        )
    )
    assert [(item.alpha, item.strength) for item in found][-2:] == [(None, 1.0), (6.0, 0.5)]


def test_a_strength_that_is_left_out_is_named() -> None:
    with pytest.raises(EffectiveScaleError, match="strength-ignored"):
        assert_effective_scale(lambda weight, a, b, alpha, rank, strength: right(weight, a, b, alpha, rank))


def test_variants_have_references_of_their_own() -> None:
    assert_effective_scale(lambda a, b, alpha, rank: alpha / rank**0.5 * (b @ a), rslora=True, rank=6)
    with pytest.raises(EffectiveScaleError, match="rslora-ignored"):
        assert_effective_scale(right, rslora=True)
    assert_effective_scale(
        lambda a, b, w1, alpha, rank: alpha / rank * np.kron(w1, b @ a), form="lokr", dtypes=("float32",)
    )

    def dora(weight: Any, a: Any, b: Any, magnitude: Any, alpha: float, rank: int) -> Any:
        both = right(weight, a, b, alpha, rank)
        return both * (magnitude / np.linalg.norm(both, axis=1))[:, None]

    assert_effective_scale(dora, form="dora")
    with pytest.raises(EffectiveScaleError, match="alpha-ignored"):
        assert_effective_scale(
            lambda weight, a, b, magnitude: dora(weight, a, b, magnitude, 8.0, 8), form="dora"
        )
    with pytest.raises(EffectiveScaleError, match="wrong-direction"):
        # The norm of the base alone, a mistake of early implementations.
        assert_effective_scale(
            lambda weight, a, b, magnitude, alpha, rank: (
                right(weight, a, b, alpha, rank) * (magnitude / np.linalg.norm(weight, axis=1))[:, None]
            ),
            form="dora",
        )


def test_an_alpha_that_tells_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="choose another"):
        assert_effective_scale(right, alphas=(4.0, 8.0))
    with pytest.raises(ValueError, match="rank 1"):
        assert_effective_scale(right, rank=1)


@pytest.mark.parametrize("rslora", [False, True])
def test_every_rank_has_alphas_that_tell_something(rslora: bool) -> None:
    for rank in range(2, 40):
        power = 0.5 if rslora else 1

        def delta(a: Any, b: Any, alpha: float, rank: int, power: float = power) -> Any:
            return alpha / rank**power * (b @ a)

        assert len(assert_effective_scale(delta, rank=rank, rslora=rslora)) > 1


def test_a_result_of_another_shape_is_an_error() -> None:
    with pytest.raises(AssertionError, match="shape"):
        assert_effective_scale(lambda weight, a, b: (weight + b @ a).T)


def test_the_seed_repeats_the_numbers() -> None:
    first, second, third = (assert_effective_scale(right, seed=seed) for seed in (5, 5, 6))
    assert first == second != third


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch (extra verify)")
def test_torch_is_given_tensors_and_left_as_it_was() -> None:
    program = """
import torch
from lorascale_lint.testing import assert_effective_scale

def merge(weight, a, b, alpha, rank):
    assert torch.empty(3).isnan().all()
    return weight + (alpha / rank * (b.float() @ a.float())).to(weight.dtype)

assert_effective_scale(merge, dtypes=("float32", "float16", "bfloat16"))
assert_effective_scale(
    lambda x, weight, a, b, alpha, rank: torch.nn.functional.conv2d(x, weight)
    + alpha / rank * torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, a), b),
    shape=(12, 5, 3, 3),
)
assert not torch.are_deterministic_algorithms_enabled()
"""
    done = run_python("-c", program)
    assert done.returncode == 0, done.stdout + done.stderr


def run_python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    return run_python("-m", "pytest", "-q", "-p", "lorascale_lint.pytest_plugin", *arguments, cwd=folder)


def test_the_documented_tests_pass(tmp_path: Path) -> None:
    write_examples(DOCS, tmp_path)
    done = run_pytest(tmp_path, "test_adapters.py", "test_variants.py")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_plugin_costs_nothing_unless_used(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_other():\n"
        "    assert not {'torch', 'numpy', 'libcst', 'lorascale_lint.testing'} & set(sys.modules)\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_plugin_is_announced() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"lorascale_lint.pytest_plugin": "lorascale_lint.pytest_plugin"}
