"""LS207 on numbers that are saved as the alpha of modules without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

SAVE = """\
import torch


def to_lora_file(modules):
    out = {{}}
    for name, entry in modules.items():
        up, down, alpha, mid = entry.weights
        {body}
        out[name + ".lora_up.weight"] = up
        out[name + ".lora_down.weight"] = down
        out[name + ".alpha"] = {stored}
    return out
"""


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("pass", "torch.tensor(1.0 if alpha is None else alpha)"),
        ("alpha = alpha if alpha is not None else 1.0", "torch.tensor(float(alpha))"),
        ("if alpha is None:\n            alpha = 1.0", "torch.tensor(alpha)"),
        (
            "if alpha is None:\n            value = torch.tensor(1.0)\n"
            "        else:\n            value = alpha.cpu()",
            "value",
        ),
        ("alpha = alpha or 1.0", "torch.tensor(alpha)"),
        ("pass", 'torch.tensor(entry["alpha"] if entry["alpha"] is not None else 16)'),
        ("value = entry[2]\n        alpha = value", "torch.tensor(1.0) if alpha is None else alpha"),
    ],
)
def test_a_missing_alpha_saved_as_a_number_fires(body: str, stored: str, tmp_path: Path) -> None:
    source = SAVE.format(body=body, stored=stored)
    assert [found.code for found in findings(source, tmp_path, "LS207")] == ["LS207"]


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("pass", "torch.tensor(down.shape[0] if alpha is None else alpha)"),
        ("if alpha is None:\n            alpha = float(down.shape[0])", "torch.tensor(alpha)"),
        ("if alpha is None:\n            continue", "torch.tensor(alpha)"),
        ("pass", "torch.tensor(1.0)"),
        (
            "scale = 1.0 if alpha is None else alpha / down.shape[0]\n"
            "        down, up, new = resize(down, up, scale)",
            "torch.tensor(new)",
        ),
        ("pass", "alpha"),
        (
            "scale = 1.0 if alpha is None else alpha / down.shape[0]\n"
            "        new = min(len(out), 1) if mid is None else 1",
            "torch.tensor(float(scale * new))",
        ),
        ("size = 1 if mid is None else mid.numel()", "torch.tensor(alpha * size)"),
    ],
)
def test_other_alphas_are_silent(body: str, stored: str, tmp_path: Path) -> None:
    assert not findings(SAVE.format(body=body, stored=stored), tmp_path, "LS207")


def test_without_the_factors_nothing_is_known(tmp_path: Path) -> None:
    source = SAVE.format(body="alpha = alpha or 1.0", stored="alpha").replace(".lora_up.weight", ".bias")
    assert not findings(source, tmp_path, "LS207")
