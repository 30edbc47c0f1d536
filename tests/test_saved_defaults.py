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


TRAINED = """\
import json


class Adapter:
    def __init__(self, size, rank=8, alpha=8.0):
        self.rank = rank
        self.alpha = alpha
        self.lora_a = [[0.0] * size for _ in range(rank)]
        self.lora_b = [0.0] * rank

    def apply(self, x):
        inner = [sum(w * v for w, v in zip(row, x)) for row in self.lora_a]
        return self.alpha / self.rank * sum(w * v for w, v in zip(self.lora_b, inner))

    def to_dict(self):
        return {{"rank": self.rank, "alpha": self.alpha, "lora_a": self.lora_a, "lora_b": self.lora_b}}


class Trainer:
    def __init__(self, settings):
        self.settings = settings

    def start(self):
        rank = {rank}
        alpha = float(self.settings.get("adapter_alpha", 8.0))
        self.adapter = Adapter(self.settings["size"], rank=rank, alpha=alpha)

    def save(self, path):
        path.write_text(json.dumps(self.adapter.to_dict()))
"""


@pytest.mark.parametrize(
    "rank",
    ['self.settings.get("adapter_rank", 8)', 'self.settings["adapter_rank"]'],
)
def test_a_default_of_the_settings_that_new_layers_are_made_with_is_no_stand_in(
    rank: str, tmp_path: Path
) -> None:
    assert not findings(TRAINED.format(rank=rank), tmp_path, "LS207")


def test_a_default_of_a_group_with_its_factors_is_one(tmp_path: Path) -> None:
    source = SAVE.format(
        body='up, down = entry["lora_up"], entry["lora_down"]\n'
        '        rank, alpha = entry["rank"], entry.get("alpha", 8.0)',
        stored="alpha",
    ).replace("up, down, alpha, mid = entry.weights\n        ", "")
    assert [found.code for found in findings(source, tmp_path, "LS207")] == ["LS207"]
