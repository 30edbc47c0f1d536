"""LS105: a strength on one path only, and paths that get it later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base, lora_A, lora_B, alpha, rank, multiplier=1.0):
        self.base = base
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scale = alpha / rank
        self.multiplier = multiplier
        self.wd = False

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale * self.multiplier

    def merge(self):
        delta = self.lora_B @ self.lora_A * self.scale
"""


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("self.base.weight.data += delta", ["LS105"]),
        ("self.base.weight.data += delta * self.multiplier", []),
        (
            "weight = self.base.weight.data\n"
            "        if self.wd:\n"
            "            self.base.weight.data = decompose(weight + delta, self.multiplier)\n"
            "        else:\n"
            "            self.base.weight.data = weight + delta * self.multiplier",
            [],
        ),
    ],
    ids=["left out", "there", "given to what makes a direction of the sum"],
)
def test_merge_beside_a_forward_with_strength(body: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": f"{LAYER}        {body}\n"}, codes=["LS105"])
    assert [finding.code for finding in found] == codes


BUILT = """\
class LoRAModule:
    def __init__(self, base, rank, alpha, multiplier=1.0):
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.base = base
        self.scale = alpha / rank
        self.multiplier = multiplier

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale

    def merge_to(self, files):
        down, up = files["lora_down.weight"], files["lora_up.weight"]
        self.base.weight.data += {delta}


def load(model, path, rank, alpha):
    tensors = load_file(path)
    for child in model.children():
        lora = LoRAModule(child, rank, alpha, 1.0)
        lora.merge_to(tensors)
"""


@pytest.mark.parametrize(
    ("delta", "codes"),
    [("self.multiplier * (up @ down) * self.scale", []), ("(up @ down) * self.scale", ["LS105"])],
)
def test_a_caller_that_gives_the_strength_one(delta: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": BUILT.format(delta=delta)}, codes=["LS105"])
    assert [finding.code for finding in found] == codes
