"""LS109: the merge subtracts the delta that the forward adds, and the unmerge adds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import LORA_CONV, lint_files

LAYER = (
    LORA_CONV
    + """
    def train(self, mode=True):
        self.conv.train(mode)
        if self.merged:
            self.conv.weight.data = self.conv.weight.data {train} self.delta()
            self.merged = False

    def eval(self):
        self.conv.eval()
        if not self.merged:
            self.conv.weight.data = self.conv.weight.data {eval} self.delta()
            self.merged = True

    def forward(self, x):
        if self.merged:
            return self.conv(x)
        return F.conv2d(x, self.conv.weight {forward} self.delta(), self.conv.bias)
"""
)


def codes(folder: Path, train: str, eval: str, forward: str) -> list[str]:
    source = LAYER.format(train=train, eval=eval, forward=forward)
    return [finding.code for finding in lint_files(folder, {"lora_conv.py": source}, codes=["LS109"])]


def test_a_merge_that_subtracts_is_found(tmp_path: Path) -> None:
    assert codes(tmp_path, "+", "-", "+") == ["LS109"]


@pytest.mark.parametrize("signs", [("-", "+", "+"), ("+", "-", "-")], ids=["as it should be", "negative"])
def test_the_sign_of_the_forward_is_right(signs: tuple[str, str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, *signs) == []
