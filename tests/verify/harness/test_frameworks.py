"""Code of other frameworks than torch: mlx on the CPU, and functions of JAX's arrays."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.harness.frameworks import arrays_of
from lorascale_lint.verify.report import VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

MLX = """
import math
import mlx.core as mx
import mlx.nn as nn

class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int = 16, alpha: float = 32.0):
        super().__init__()
        out_features, in_features = linear.weight.shape
        self.scale = alpha / rank
        self.linear = linear
        self.lora_a = mx.random.normal((in_features, rank)) / math.sqrt(in_features)
        self.lora_b = mx.zeros((rank, out_features))

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)

    def fuse(self):
        fused = nn.Linear(*self.lora_a.shape[:1], self.lora_b.shape[1], bias=False)
        fused.weight = self.linear.weight + SCALE(self.lora_a @ self.lora_b).T
        return fused
"""
JAX = """
import jax.numpy as jnp

def merge(weight, lora_a, lora_b, alpha, rank):
    delta = jnp.matmul(lora_b, lora_a)
    return weight + delta * (alpha / rank)
"""
TORCH = """
import torch

def merge_torch(weight, lora_a, lora_b, alpha, rank):
    return torch.add(weight, lora_b @ lora_a, alpha=alpha / rank)
"""


def scales(report: VerifyReport) -> dict[str, tuple[Verdict, float | None]]:
    found = [row for row in report.rows if row.scenario.endswith(": trained scale")]
    return {row.group.split()[1]: (row.verdict, row.observed) for row in found}


@pytest.mark.parametrize(("scale", "verdict"), [("self.scale * ", Verdict.OK), ("", Verdict.ALPHA_IGNORED)])
def test_layers_of_mlx_are_called_and_fused(tmp_path: Path, scale: str, verdict: Verdict) -> None:
    pytest.importorskip("mlx.core")
    (tmp_path / "lora.py").write_text(MLX.replace("SCALE", scale))
    report = run_verify(tmp_path, driver="harness", seed=2)
    found = scales(report)
    assert found["LoRALinear.__call__"] == (Verdict.OK, pytest.approx(0.5))
    assert found["LoRALinear.fuse"][0] is verdict
    assert any(row.verdict is Verdict.MERGED_DIFFERS for row in report.rows) is not bool(scale)
    assert "mlx" in render_text(report)


def test_each_file_gets_arrays_of_its_own_framework(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    (tmp_path / "in_jax.py").write_text(JAX)
    (tmp_path / "in_torch.py").write_text(TORCH)
    found = scales(run_verify(tmp_path, driver="harness", seed=2))
    assert found == {
        "merge": (Verdict.OK, pytest.approx(0.5)),
        "merge_torch": (Verdict.OK, pytest.approx(0.5)),
    }


def test_torch_counts_where_a_file_imports_several(tmp_path: Path) -> None:
    file = tmp_path / "convert.py"
    file.write_text("import mlx.core as mx\nimport torch\n")
    assert arrays_of(file) == ""
    file.write_text("from mlx import nn\nfrom .torch import x\n")
    assert arrays_of(file) == "mlx.core"
