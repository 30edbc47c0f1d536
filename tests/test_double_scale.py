"""LS106: what doubles the trained scale, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.findings import Finding
from tests.projects import fix_files, lint_files

INIT = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.scale = lora_alpha / lora_rank
"""

DOUBLED = {
    "property and caller": """
    @property
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        self.base_layer.weight.data += self.delta * self.scale
""",
    "activation scaled inside and outside": """
    def forward(self, x):
        middle = (x @ self.lora_A.T) * self.scale
        return self.base_layer(x) + (middle @ self.lora_B.T) * self.scale
""",
    "helper that returns a tuple": """
    def diff(self, device=None):
        return (self.lora_B @ self.lora_A * self.scale).to(device), None

    def merge(self):
        delta, _ = self.diff()
        self.base_layer.weight.data += delta.mul(self.scale)
""",
    "divided by the rank again": """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T * (self.lora_alpha / self.lora_rank)
        return self.base_layer(x) + delta / self.lora_rank
""",
    "helper that is given the scale": """
    def merge(self):
        self.base_layer.weight.data += product(self.lora_B, self.lora_A, self.scale) * self.scale

def product(up, down, gamma):
    return (up @ down) * gamma
""",
    "helper out of sight that is given the scale": """
    def get_weight(self):
        return fused_product(self.lora_B, self.lora_A, self.scale)

    def merge(self):
        self.base_layer.weight.data += self.get_weight() * self.scale

    def forward(self, x):
        return self.base_layer(x) + F.linear(x, self.base_layer.weight + self.get_weight())
""",
}

SINGLE = {
    "helper out of sight whose result is always scaled": """
    def get_weight(self):
        return fused_product(self.lora_B, self.lora_A, self.scale)

    def merge(self):
        self.base_layer.weight.data += self.get_weight() * self.scale
""",
    "helper called with a scale of 1": """
    def merge(self):
        self.base_layer.weight.data += product(self.lora_B, self.lora_A, 1.0) * self.scale

def product(up, down, gamma):
    return (up @ down) * gamma
""",
    "helper told not to scale": """
    def delta(self, scaled=True):
        product = self.lora_B @ self.lora_A
        if scaled:
            product = product * self.scale
        return product

    def merge(self):
        self.base_layer.weight.data += self.delta(scaled=False) * self.scale
""",
    "a strength": """
    def delta(self):
        return self.lora_B @ self.lora_A * self.scale

    def merge(self, multiplier):
        self.base_layer.weight.data += self.delta() * multiplier
""",
    "square roots over both factors": """
    def merge(self):
        root = self.scale ** 0.5
        self.base_layer.weight.data += (self.lora_B * root) @ (self.lora_A * root)
""",
    "opposite branches of one flag": """
    def delta(self):
        product = self.lora_B @ self.lora_A
        if self.prescaled:
            return product * self.scale
        return product

    def merge(self):
        if self.prescaled:
            self.base_layer.weight.data += self.delta()
        else:
            self.base_layer.weight.data += self.delta() * self.scale
""",
    "a scale that a fold sets to 1": """
    def optimize(self):
        self.lora_B = self.lora_B * self.scale
        self.scale = 1.0

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A * self.scale
""",
    "a compensation": """
    def delta(self):
        return self.lora_B @ self.lora_A * self.scale

    def unscaled_norm(self):
        return (self.delta() / self.scale).norm()
""",
    "two sums": """
    def forward(self, x):
        first = x @ self.lora_A.T @ self.lora_B.T * self.scale
        second = x @ self.lora_A.T @ self.lora_B.T * self.scale
        return self.base_layer(x) + first + second
""",
}


def doubled(folder: Path, source: str) -> list[Finding]:
    """LS106's findings in one file."""
    return [found for found in lint_files(folder, {"lora_layer.py": source}) if found.code == "LS106"]


@pytest.mark.parametrize("body", DOUBLED.values(), ids=DOUBLED)
def test_doubled_scale_is_found(body: str, tmp_path: Path) -> None:
    found = doubled(tmp_path, INIT + body)
    assert [finding.code for finding in found] == ["LS106"]
    assert len(found[0].trace) >= 2


@pytest.mark.parametrize("body", SINGLE.values(), ids=SINGLE)
def test_single_scale_is_silent(body: str, tmp_path: Path) -> None:
    assert doubled(tmp_path, INIT + body) == []


REPAIRED = {
    "a statement": (
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        change = self.delta()
        change *= self.scale
        self.base_layer.weight.data += change
""",
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        change = self.delta()
        self.base_layer.weight.data += change
""",
    ),
    "a method and a function": (
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        change = self.delta().mul_(self.scale)  # in place
        self.base_layer.weight.data += change

    def bake(self):
        self.base_layer.weight.data.add_(torch.mul(self.scale, self.delta()))
""",
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        change = self.delta()  # in place
        self.base_layer.weight.data += change

    def bake(self):
        self.base_layer.weight.data.add_(self.delta())
""",
    ),
    "a strength stays": (
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self, strength=1.0):
        scale = self.scale * strength
        self.base_layer.weight.data += self.delta() * scale
""",
        """
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self, strength=1.0):
        scale = strength
        self.base_layer.weight.data += self.delta() * scale
""",
    ),
    "lines in parentheses": (
        """
    def forward(self, x):
        return self.base_layer(x) + self.scale * (
            # through both
            x @ self.lora_A.T * self.scale @ self.lora_B.T
        )
""",
        """
    def forward(self, x):
        return self.base_layer(x) + (
            # through both
            x @ self.lora_A.T * self.scale @ self.lora_B.T
        )
""",
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_the_outer_factor_goes(name: str, tmp_path: Path) -> None:
    before, after = REPAIRED[name]
    start = "import torch\n\n\n" + INIT
    texts, left = fix_files(tmp_path, {"lora_layer.py": start + before})
    assert texts["lora_layer.py"] == start + after
    assert left == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("data.add_(self.delta, alpha=self.scale)", "data.add_(self.delta)"),
        (
            "data = torch.add(self.base_layer.weight, self.delta, alpha=self.scale)",
            "data = torch.add(self.base_layer.weight, self.delta)",
        ),
    ],
)
def test_the_scale_of_a_sum_goes_where_the_delta_has_it(before: str, after: str, tmp_path: Path) -> None:
    source = (
        INIT
        + f"""
    @property
    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def merge(self):
        self.base_layer.weight.{before}
"""
    )
    texts, left = fix_files(tmp_path, {"lora_layer.py": source})
    assert texts == {"lora_layer.py": source.replace(before, after)}
    assert left == ()
