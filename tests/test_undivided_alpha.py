"""LS107 and LS110: raw alpha on a delta, and a scale that reaches the base as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LAYER = """\
class LoRALayer:
    def __init__(self, in_dim, out_dim, rank, alpha{default}):
        self.A = torch.nn.Parameter(torch.randn(in_dim, rank) * (1 / math.sqrt(rank)))
        self.B = torch.nn.Parameter(torch.zeros(rank, out_dim))
        self.alpha = {alpha}

    def forward(self, x):
        return self.alpha * (x @ self.A @ self.B)
"""

REAL = {
    "bare": LAYER.format(default="", alpha="alpha"),
    "default above 1": LAYER.format(default="=16", alpha="float(alpha)"),
    "read from the file": """\
def merge_lora(weight, lora_sd, name):
    up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
    alpha = lora_sd[name + ".alpha"].item()
    weight += alpha * (up @ down)
""",
}
NO_ALPHA = {
    "divided in the constructor": LAYER.format(default="", alpha="alpha / rank"),
    "a plain strength by its default": LAYER.format(default="=1.0", alpha="alpha"),
    "given as a quotient": LAYER.format(default="", alpha="alpha")
    + """
def make_lora(rank, lora_alpha):
    return LoRALayer(8, 8, rank, lora_alpha / rank)
""",
    "divided by the caller": LAYER.format(default="", alpha="alpha")
    + """
class LoRALinear:
    def __init__(self, linear, rank, alpha):
        self.linear, self.rank = linear, rank
        self.lora = LoRALayer(8, 8, rank, alpha)

    def forward(self, x):
        return self.linear(x) + self.lora(x) / self.rank
""",
    "a strength over dictionary factors": """\
def merge_lora(weight, lora_sd, name, alpha=1.0):
    up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
    weight += alpha * (up @ down)
""",
    "a rank that training changes": """\
class AdaLoraLayer:
    def __init__(self, r, lora_alpha):
        self.lora_A = torch.nn.Parameter(torch.randn(r, 4))
        self.lora_B = torch.nn.Parameter(torch.randn(4, r))
        self.ranknum = torch.nn.Parameter(torch.tensor(float(r)))
        self.scaling = lora_alpha if lora_alpha > 0 else float(r)

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling / (self.ranknum + 1e-5)
""",
    "a stored scale": """\
def merge_lora(weight, lora_sd, name):
    up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
    weight += lora_sd[name + ".alpha_scale"] * (up @ down)
""",
}

SUM = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scale = lora_alpha / lora_rank
        self.q = self.scaling = 64 ** -0.5

    def forward(self, x):
        return {result}
"""
SCALED_BASE = {
    "in dropout": "self.dropout(self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale",
    "scale first": "self.scale * (x @ self.lora_A.T @ self.lora_B.T + self.base_layer(x))",
}
SCALED_DELTA = {
    "delta alone": "self.base_layer(x) + self.scale * (x @ self.lora_A.T @ self.lora_B.T)",
    "bias of the adapter": "self.base_layer(x) + self.scale * (x @ self.lora_A.T @ self.lora_B.T + self.b)",
    "attention's scaling": "(self.base_layer(x) + self.scale * (x @ self.lora_A.T @ self.lora_B.T)) * self.q",
}


def codes(folder: Path, source: str) -> list[str]:
    """Codes of all findings in one file."""
    return [found.code for found in lint_files(folder, {"lora_layer.py": source})]


@pytest.mark.parametrize("source", REAL.values(), ids=REAL)
def test_raw_alpha_is_found(source: str, tmp_path: Path) -> None:
    source = "import math\nimport torch\n\n" + source
    assert codes(tmp_path, source).count("LS107") == 1


@pytest.mark.parametrize("source", NO_ALPHA.values(), ids=NO_ALPHA)
def test_other_alpha_is_silent(source: str, tmp_path: Path) -> None:
    source = "import math\nimport torch\n\n" + source
    assert "LS107" not in codes(tmp_path, source)


@pytest.mark.parametrize("result", SCALED_BASE.values(), ids=SCALED_BASE)
def test_scaled_base_is_found(result: str, tmp_path: Path) -> None:
    assert codes(tmp_path, SUM.format(result=result)) == ["LS110"]


@pytest.mark.parametrize("result", SCALED_DELTA.values(), ids=SCALED_DELTA)
def test_scaled_delta_is_silent(result: str, tmp_path: Path) -> None:
    assert "LS110" not in codes(tmp_path, SUM.format(result=result))


STORED = """\
import torch


class LoRALayer:
    def __init__(self, in_dim, out_dim, rank, alpha):
        self.lora_A = torch.nn.Parameter(torch.randn(in_dim, rank))
        self.lora_B = torch.nn.Parameter(torch.zeros(rank, out_dim))
{stored}
    def forward(self, x):
        return {result}
"""


@pytest.mark.parametrize(
    ("stored", "result", "new_stored", "new_result"),
    [
        (
            "        self.alpha = alpha\n",
            "x @ self.lora_A @ self.lora_B * self.alpha",
            "        self.rank = rank\n        self.alpha = alpha\n",
            "x @ self.lora_A @ self.lora_B * (self.alpha / self.rank)",
        ),
        (
            "        self.alpha, self.r = float(alpha), rank\n",
            "self.alpha * (x @ self.lora_A @ self.lora_B)",
            "        self.alpha, self.r = float(alpha), rank\n",
            "self.alpha / self.r * (x @ self.lora_A @ self.lora_B)",
        ),
        (
            "        self.scaling = alpha\n",
            "x @ self.lora_A @ self.lora_B * self.scaling",
            "        self.scaling = alpha / rank\n",
            "x @ self.lora_A @ self.lora_B * self.scaling",
        ),
    ],
)
def test_alpha_is_divided(stored: str, result: str, new_stored: str, new_result: str, tmp_path: Path) -> None:
    files = {"lora_layer.py": STORED.format(stored=stored, result=result)}
    texts, left = fix_files(tmp_path, files, unsafe=True)
    assert texts["lora_layer.py"] == STORED.format(stored=new_stored, result=new_result)
    assert left == ()
    assert fix_files(tmp_path, files)[0] == files


SUMS = {
    "(self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale": (
        "self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale"
    ),
    "self.scale * (x @ self.lora_A.T @ self.lora_B.T + self.base_layer(x))": (
        "self.scale * (x @ self.lora_A.T @ self.lora_B.T) + self.base_layer(x)"
    ),
    "((self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale).to(x.dtype)": (
        "(self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale).to(x.dtype)"
    ),
    "(\n            self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T\n        ) * self.scale": (
        "(\n            self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale\n        )"
    ),
    "self.dropout(self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale": None,
}


@pytest.mark.parametrize("result", SUMS)
def test_the_delta_alone_is_scaled(result: str, tmp_path: Path) -> None:
    texts, left = fix_files(tmp_path, {"lora_layer.py": SUM.format(result=result)})
    assert texts["lora_layer.py"] == SUM.format(result=SUMS[result] or result)
    assert [finding.code for finding in left] == ([] if SUMS[result] else ["LS110"])


RECORD = """\
@dataclasses.dataclass(frozen=True)
class LoraRule:
    {fields}

def forward(rule: LoraRule, x, kernel, lora_a, lora_b):
    return x @ kernel + x @ lora_a @ lora_b * {scale}
"""


@pytest.mark.parametrize(
    ("fields", "scale", "expected"),
    [
        ("rank: int\n    alpha: float", "rule.alpha", ["LS107"]),
        ("r: int = 8\n    lora_alpha: float = 16.0", "rule.lora_alpha", ["LS107"]),
        ("rank: int\n    alpha: float", "(rule.alpha / rule.rank)", []),
        ("rank: int\n    alpha: float = 1.0", "rule.alpha", []),
        ("alpha: float", "rule.alpha", []),
    ],
)
def test_a_record_that_declares_both(fields: str, scale: str, expected: list[str], tmp_path: Path) -> None:
    source = RECORD.format(fields=fields, scale=scale)
    findings = lint_files(tmp_path, {"lora_rules.py": source}, codes=["LS107"])
    assert [finding.code for finding in findings] == expected


SIBLINGS = """\
import torch
from torch import nn


class LoraDense(nn.Module):
    def __init__(self, base, lora_alpha, rank):
        super().__init__()
        self.base = base
        self.lora_alpha = lora_alpha
        self.rank = rank
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + {forward} * self.lora_up(self.lora_down(x))

    def fuse(self):
        self.base.weight.data += (self.lora_up.weight @ self.lora_down.weight) * {fuse}
"""
QUOTIENT = "(self.lora_alpha / self.rank)"


@pytest.mark.parametrize(
    ("forward", "fuse"), [(QUOTIENT, "self.lora_alpha"), ("self.lora_alpha", "self.lora_alpha / self.rank")]
)
def test_one_method_divides_and_the_other_does_not(forward: str, fuse: str, tmp_path: Path) -> None:
    source = SIBLINGS.format(forward=forward, fuse=fuse)
    assert [f.code for f in lint_files(tmp_path, {"lora.py": source}, codes=["LS107"])] == ["LS107"]


@pytest.mark.parametrize(
    "source",
    [
        SIBLINGS.format(forward=QUOTIENT, fuse=QUOTIENT),
        SIBLINGS.format(forward="self.lora_alpha", fuse="self.lora_alpha")
        .replace("self.lora_alpha = lora_alpha", "self.lora_alpha = lora_alpha / rank"),
        SIBLINGS.format(forward="self.lora_alpha", fuse="self.lora_alpha")
        + "\n    def extra_repr(self):\n        return f'scale={self.lora_alpha / self.rank}'\n",
    ],
    ids=["both divide", "divided where it is kept", "divided for a message"],
)  # fmt: skip
def test_methods_that_agree(source: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": source}, codes=["LS107"]) == ()


OWN_READER = """
import json
import mmap
import numpy


class Shards:
    def __init__(self, path):
        self.memory = mmap.mmap(open(path, "rb").fileno(), 0, access=mmap.ACCESS_READ)
        size = int.from_bytes(self.memory[:8], "little")
        self.index = json.loads(self.memory[8 : 8 + size])

    def __getitem__(self, name):
        begin, end = self.index[name]["data_offsets"]
        return numpy.frombuffer(self.memory[begin:end], dtype=numpy.float16)


def lora_delta(path, layer):
    shards = Shards(path)
    wide = shards[layer + ".lora_up.weight"]
    narrow = shards[layer + ".lora_down.weight"]
    factor = shards[layer + ".alpha"]{divided}
    return (wide @ narrow) * factor
"""


@pytest.mark.parametrize(("divided", "expected"), [("", ["LS107"]), (" / narrow.shape[0]", [])])
def test_a_file_behind_a_class_of_the_project(divided: str, expected: list[str], tmp_path: Path) -> None:
    findings = lint_files(tmp_path, {"a.py": OWN_READER.format(divided=divided)}, codes=["LS107"])
    assert [finding.code for finding in findings] == expected


def test_a_strength_behind_a_class_of_the_project(tmp_path: Path) -> None:
    source = OWN_READER.format(divided="").replace('".alpha"', '".ratio"')
    assert lint_files(tmp_path, {"a.py": source}, codes=["LS107"]) == ()
