"""LS223 and LS224: who writes a scaling that is stored already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """
class LoraLayer(torch.nn.Module):
    def __init__(self, base, alpha, rank, use_rslora=False):
        self.base, self.lora_alpha, self.rank = base, alpha, rank
        self.lora_A = torch.nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = torch.nn.Linear(rank, base.out_features, bias=False)
        self.use_rslora = use_rslora
        self.scaling = alpha / (math.sqrt(rank) if use_rslora else rank)

    {method}
"""
PLAIN = LAYER.replace("(math.sqrt(rank) if use_rslora else rank)", "rank")


def codes(folder: Path, source: str) -> list[str]:
    return [f.code for f in lint_files(folder, {"lora_layer.py": source}, codes=["LS223", "LS224"])]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            LAYER.format(method="def reset(self):\n        self.scaling = self.lora_alpha / self.rank"),
            ["LS223"],
        ),
        (
            LAYER.format(
                method="def change(self, alpha):\n        self.lora_alpha = alpha\n"
                "        self.scaling = alpha / self.rank"
            ),
            ["LS223"],
        ),
        (
            LAYER.format(
                method="def tune(self, factor):\n        self.scaling = factor * self.lora_alpha / self.rank"
            ),
            ["LS223"],
        ),
        (LAYER.format(method="def grow(self, scale):\n        self.scaling *= scale"), []),
        (
            LAYER.format(
                method="def reset(self):\n        assert not self.use_rslora\n"
                "        self.scaling = self.lora_alpha / self.rank"
            ),
            [],
        ),
        (PLAIN.format(method="def reset(self):\n        self.scaling = self.lora_alpha / self.rank"), []),
        (
            LAYER.format(method="pass")
            + "class Plain(LoraLayer):\n    def __init__(self, base, alpha, rank):\n"
            "        super().__init__(base, alpha, rank)\n        self.scaling = alpha / rank\n",
            [],
        ),
    ],
    ids=[
        "reset",
        "another alpha",
        "times what is given",
        "multiplied",
        "refused",
        "no rsLoRA",
        "its own constructor",
    ],
)
def test_writers_of_one_scaling(source: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, source) == expected


PAIR = """def scale_up(self, scale):
        self.scaling = {done}

    def unscale_up(self, scale=1.0):
        self.scaling = {undone}"""


@pytest.mark.parametrize(
    ("done", "undone", "expected"),
    [
        ("self.lora_alpha / self.rank * scale", "self.lora_alpha / self.rank", ["LS224"]),
        ("scale * (self.lora_alpha / self.rank)", "(self.lora_alpha / self.rank)", ["LS224"]),
        ("self.scaling * scale", "self.scaling / scale", []),
        ("self.scaling * scale", "self.lora_alpha / self.rank", []),
    ],
)
def test_pairs(done: str, undone: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, PLAIN.format(method=PAIR.format(done=done, undone=undone))) == expected


WHILE = """\
import contextlib


@contextlib.contextmanager
def scaled(model, factor):
    layers = [m for m in model.modules() if hasattr(m, "lora_A")]
    kept = [dict(m.scaling) for m in layers]
    for m in layers:
        for name in m.scaling:
            m.scaling[name] {change}
    try:
        yield
    finally:
        for m, before in zip(layers, kept):
            for name in m.scaling:
                m.scaling[name] {back}
"""


@pytest.mark.parametrize(
    ("change", "back", "expected"),
    [
        ("= m.scaling[name] * factor", "= m.lora_alpha[name] / m.r[name]", ["LS224"]),
        ("*= factor", "= m.lora_alpha[name] / m.r[name]", ["LS224"]),
        ("*= factor", "= before[name]", []),
        ("*= factor", "/= factor", []),
    ],
)
def test_a_while(change: str, back: str, expected: list[str], tmp_path: Path) -> None:
    """What a block finds in the scaling is there again behind it, and that may be more than alpha / rank."""
    found = lint_files(tmp_path, {"lora_while.py": WHILE.format(change=change, back=back)}, codes=["LS224"])
    assert [item.code for item in found] == expected
