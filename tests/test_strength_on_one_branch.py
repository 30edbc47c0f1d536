"""LS124: which strengths reach the delta on one branch only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

MERGE = """
def fuse(layer, state_dict, name, rank, alpha=None, lora_scale=1.0, merged=False):
    down = state_dict[name + ".lora_down.weight"]
    up = state_dict[name + ".lora_up.weight"]
    {body}
    layer.weight.data += up @ down
"""

LAYER = """
class LoRALayer:
    def __init__(self, base, lora_A, lora_B, alpha, rank, strength=1.0):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.scaling = alpha / rank
        self.strength = strength

    def delta(self, x):
        product = x @ self.lora_A.T @ self.lora_B.T
        {body}
"""


def codes(folder: Path, source: str) -> list[str]:
    return [finding.code for finding in lint_files(folder, {"lora_layer.py": source}, codes=["LS124"])]


@pytest.mark.parametrize(
    "source",
    [
        MERGE.format(body="if alpha is not None:\n        up = up * (alpha / rank * lora_scale)"),
        MERGE.format(body="up = up * (lora_scale * alpha / rank) if alpha is not None else up"),
        LAYER.format(
            body="if isinstance(self.base, torch.nn.Linear):\n"
            "            return product * self.scaling * self.strength\n"
            "        return product * self.scaling"
        ),
    ],
    ids=["fold under alpha", "expression", "kind of layer"],
)
def test_found(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS124"]


@pytest.mark.parametrize(
    "source",
    [
        MERGE.format(
            body="up = up * lora_scale\n    if alpha is not None:\n        up = up * (alpha / rank)"
        ),
        MERGE.format(
            body="factor = alpha / rank if alpha is not None else 1.0\n    up = up * (factor * lora_scale)"
        ),
        MERGE.format(body="if lora_scale != 1.0:\n        up = up * (alpha / rank * lora_scale)"),
        LAYER.format(
            body="if self.strength == 1:\n            return product * self.scaling\n"
            "        return product * self.scaling * self.strength"
        ),
        LAYER.format(
            body="if self.fused:\n            return product * self.scaling\n"
            "        return product * self.scaling * self.strength"
        ),
        MERGE.format(
            body="if isinstance(lora_scale, list):\n        up = up * lora_scale[0]\n"
            "    if alpha is not None:\n        up = up * (alpha / rank)\n"
            "    if isinstance(lora_scale, float):\n        up = up * lora_scale"
        ),
    ],
    ids=["before the test", "factor first", "asks for it", "shortcut", "says why", "by its type"],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []


CALLS = """
def prepare(pipe, lora, kind, fuse):
    print("strength", lora["strength"])
    if {test}:
        pipe = merge_lora(pipe, lora["path"], {given})
    else:
        pipe = load_lora_into(pipe, load_file(lora["path"]){more})
    {after}
    return pipe
"""


@pytest.mark.parametrize(
    ("test", "given", "more", "after", "expected"),
    [
        ('"fun" in kind', 'lora["strength"]', "", "pass", ["LS124"]),
        ("kind == 'wan'", 'strength=lora["strength"]', ", name=lora['name']", "pass", ["LS124"]),
        ('"fun" in kind', 'lora["strength"]', ', scale=lora["strength"]', "pass", []),
        ('"fun" in kind', 'lora["strength"]', "", 'pipe.set_adapters("a", lora["strength"])', []),
        ("fuse", 'lora["strength"]', "", "pass", []),
        ('lora["strength"] != 1', 'lora["strength"]', "", "pass", []),
    ],
)
def test_calls_on_two_branches(
    test: str, given: str, more: str, after: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, CALLS.format(test=test, given=given, more=more, after=after)) == expected


STARTS_AT_ONE = """
class LoRALayer:
    def __init__(self, base, lora_A, lora_B, rank=None, alpha=None):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.rank, self.alpha, self.weighting = rank, alpha, 1.0

    def give(self, lora_A, lora_B, rank, alpha=None, strength=1.0):
        self.lora_A, self.lora_B, self.rank = lora_A, lora_B, rank
        self.alpha = int(alpha) if alpha is not None else rank
        self.weighting = float(strength)

    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.alpha != self.rank:
            delta = delta * (self.alpha / self.rank{inside})
        {after}
        return self.base(x) + delta
"""


@pytest.mark.parametrize(
    ("inside", "after", "expected"),
    [
        ("", "delta = delta * self.weighting", []),
        (" * self.weighting", "pass", ["LS124"]),
    ],
    ids=["on each branch", "where alpha is not the rank"],
)
def test_a_field_that_starts_at_one(inside: str, after: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, STARTS_AT_ONE.format(inside=inside, after=after)) == expected


TOWERS = """\
def load_style(pipe, sd, find, unet_weight=1.0, text_weight=1.0):
    for key in [k for k in sd if k.endswith("lora_down.weight")]:
        stem = key.removesuffix(".lora_down.weight")
        text = (pipe.text_encoder, text_weight)
        tower, weight = text if stem.startswith("lora_te") else (pipe.unet, unet_weight)
        down, up = sd[key], sd[stem + ".lora_up.weight"]
        scale = sd[stem + ".alpha"].item() / down.shape[0]
        if stem.startswith("lora_te"):
            tower.get_submodule(stem).weight.data += {text}scale * (up @ down)
        else:
            tower.get_submodule(stem).weight.data += {unet}scale * (up @ down)
"""


@pytest.mark.parametrize(("text", "unet", "found"), [("", "weight * ", 1), ("weight * ", "weight * ", 0)])
def test_one_of_two_towers(text: str, unet: str, found: int, tmp_path: Path) -> None:
    """A `weight` that one of two branches of a loop multiplies on is a strength there."""
    assert codes(tmp_path, TOWERS.format(text=text, unet=unet)) == ["LS124"] * found
