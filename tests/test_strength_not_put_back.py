"""LS126: strengths that leave a factor and do not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """
class LoRALayer:
    def __init__(self, base, lora_A, lora_B, strength=1.0):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.strength = strength
        self.fold()

    def fold(self):
        self.lora_B.data.mul_(self.strength)

    def change(self, strength):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.lora_B.data.div_(self.strength)\n        self.strength = strength", ["LS126"]),
        ("self.lora_B.data = self.lora_B.data / self.strength\n        self.strength = strength", ["LS126"]),
        (
            "self.lora_B.data.div_(self.strength)\n        self.strength = strength\n        self.fold()",
            [],
        ),
        (
            "self.lora_B.data.div_(self.strength)\n        self.strength = strength\n"
            "        self.lora_B.data.mul_(strength)",
            [],
        ),
        ("self.lora_B.data.div_(self.strength)\n        self.strength = 1.0", []),
        ("self.lora_B.data.div_(self.strength)", []),
    ],
)
def test_strengths(body: str, expected: list[str], tmp_path: Path) -> None:
    findings = lint_files(tmp_path, {"lora_layer.py": LAYER.format(body=body)}, codes=["LS126"])
    assert [finding.code for finding in findings] == expected
