"""LS241: alphas that are None by default, divided with and without a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch


class LoraConv(torch.nn.Module):
    def __init__(self, conv, r=8, alpha=None):
        super().__init__()
        self.conv = conv
        {body}
        self.lora_down = torch.nn.Conv2d(conv.in_channels, r, 1, bias=False)
        self.lora_up = torch.nn.Conv2d(r, conv.out_channels, 1, bias=False)

    def forward(self, x):
        return self.conv(x) + self.lora_up(self.lora_down(x)) * self.scaling


{call}
"""
DIVIDED = "self.scaling = alpha / r"
OMITS = "def wrap(conv):\n    return LoraConv(conv, 4)"
GIVES = "def wrap(conv, alpha):\n    return LoraConv(conv, 4, alpha=alpha)"
MERGE = """\
def merge(sd, model):
    for key in list(sd):
        if key.endswith(".lora_down.weight"):
            name = key[: -len(".lora_down.weight")]
            up, down = sd[name + ".lora_up.weight"], sd[key]
            {body}
            model[name].weight.data += scale * (up @ down)
"""


@pytest.mark.parametrize(
    ("body", "call", "confidence"),
    [
        (DIVIDED, OMITS, ["high"]),
        ("self.scaling = float(alpha) / r", OMITS, ["high"]),
        (DIVIDED, "def wrap(conv):\n    return LoraConv(conv, r=4, alpha=None)", ["high"]),
        (DIVIDED, "", ["medium"]),
        (DIVIDED, GIVES, []),
        ("self.scaling = 1.0 if alpha is None else alpha / r", OMITS, []),
        ("alpha = alpha or r\n        self.scaling = alpha / r", OMITS, []),
        ("if alpha is None:\n            alpha = r\n        self.scaling = alpha / r", OMITS, []),
        ("assert alpha is not None\n        self.scaling = alpha / r", OMITS, []),
        ("self.scaling = alpha / r if alpha else 1.0", OMITS, []),
        (DIVIDED, "def wrap(conv, **more):\n    return LoraConv(conv, 4, **more)", []),
    ],
)
def test_parameters(body: str, call: str, confidence: list[str], tmp_path: Path) -> None:
    source = LAYER.format(body=body, call=call)
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS241"])
    assert [finding.confidence for finding in found] == confidence


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ('scale = sd.get(name + ".alpha") / down.shape[0]', 1),
        ('alpha = sd.get(f"{name}.alpha", None)\n            scale = alpha / down.shape[0]', 1),
        ('scale = sd.get(name + ".alpha", down.shape[0]) / down.shape[0]', 0),
        ('scale = sd[name + ".alpha"] / down.shape[0]', 0),
        (
            'alpha = sd.get(name + ".alpha")\n            if alpha is None:\n                continue\n'
            "            scale = alpha / down.shape[0]",
            0,
        ),
        (
            'alpha = sd.get(name + ".alpha")\n'
            "            scale = alpha / down.shape[0] if alpha is not None else 1.0",
            0,
        ),
    ],
)
def test_entries_of_a_file(body: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_merge.py": MERGE.format(body=body)}, codes=["LS241"])
    assert len(found) == count
