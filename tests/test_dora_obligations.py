"""LS410 and LS411: DoRA's magnitude over the wrong norm, or left out of a merge."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.examination import examine_paths
from tests.projects import lint_files

APPLY = """\
import torch
import helpers


def apply_dora(dora_scale, weight, lora_diff, strength):
    {body}
    return weight + strength * (adapted - weight)
"""
BASE_NORM = {
    "a cast between": """adapted = weight + lora_diff.to(weight)
    adapted = adapted * (helpers.cast(dora_scale) / torch.linalg.norm(weight, dim=1, keepdim=True))""",
    "divided first": """adapted = weight + lora_diff
    adapted = adapted / weight.norm(dim=1, keepdim=True) * dora_scale""",
    "a name for the norm": """length = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    adapted = (weight + lora_diff).mul(dora_scale / (length + 1e-8))""",
}
OWN_NORM = {
    "of the sum": """adapted = weight + lora_diff
    adapted = adapted * dora_scale / adapted.norm(dim=1, keepdim=True)""",
    "of the sum, through a name": """adapted = weight + lora_diff.to(weight)
    length = torch.linalg.norm(adapted, dim=1, keepdim=True) + 1e-8
    adapted *= helpers.cast(dora_scale) / length""",
    "the norm of the base is for a log": """adapted = weight + lora_diff
    print(weight.norm())
    adapted = adapted * dora_scale / adapted.norm(dim=1, keepdim=True)""",
}

LAYER = """\
import torch
from torch import nn
import torch.nn.functional as F


class DoraLinear(nn.Module):
    def __init__(self, base, rank, alpha, use_dora=True):
        super().__init__()
        self.base = base
        self.use_dora = use_dora
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.magnitude = nn.Parameter(torch.linalg.norm(base.weight, dim=1))

    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)

    def forward(self, x):
        adapted = self.base.weight + self.delta()
        weight = (self.magnitude / adapted.norm(dim=1)).unsqueeze(1) * adapted
        return F.linear(x, weight)
"""
LEFT_OUT = {
    "a method": """
    def merge(self):
        self.base.weight.data += self.scale * torch.mm(self.lora_B, self.lora_A)
""",
    "a function of the same file": """

def export(model):
    out = {}
    for name, layer in model.named_modules():
        if isinstance(layer, DoraLinear):
            out[name] = layer.base.weight + layer.scale * (layer.lora_B @ layer.lora_A)
    return out
""",
    "an unmerge": """
    def unmerge(self):
        self.base.weight.data -= self.scale * torch.mm(self.lora_B, self.lora_A)
""",
}
KEPT = {
    "in the merge": """
    def merge(self):
        adapted = self.base.weight + self.scale * torch.mm(self.lora_B, self.lora_A)
        self.base.weight.data = adapted * (self.magnitude / adapted.norm(dim=1))[:, None]
""",
    "in a helper": """
    def merge(self):
        self.base.weight.data = self.lengths(self.base.weight + self.scale * (self.lora_B @ self.lora_A))

    def lengths(self, weight):
        return weight * (self.magnitude / weight.norm(dim=1))[:, None]
""",
    "where DoRA is off": """
    def merge(self):
        if self.use_dora:
            raise NotImplementedError
        self.base.weight.data += self.scale * torch.mm(self.lora_B, self.lora_A)
""",
    "for a norm that starts the magnitude": """
    def start(self):
        self.magnitude.copy_(self.length_of(self.base.weight, self.lora_B @ self.lora_A))

    def length_of(self, weight, delta):
        weight = weight + self.scale * delta
        return torch.linalg.norm(weight, dim=1)
""",
    "for the norm alone": """
    def length(self):
        adapted = self.base.weight + self.scale * torch.mm(self.lora_B, self.lora_A)
        return self.magnitude / adapted.norm(dim=1)

    def other(self, x):
        return self.length() * (self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale)
""",
}


@pytest.mark.parametrize("name", BASE_NORM)
def test_norm_of_the_base(name: str, tmp_path: Path) -> None:
    source = APPLY.format(body=BASE_NORM[name])
    found = lint_files(tmp_path, {"lora_dora.py": source}, codes=["LS410"])
    assert [finding.code for finding in found] == ["LS410"]


@pytest.mark.parametrize("name", OWN_NORM)
def test_norm_of_the_sum(name: str, tmp_path: Path) -> None:
    source = APPLY.format(body=OWN_NORM[name])
    assert lint_files(tmp_path, {"lora_dora.py": source}, codes=["LS410"]) == ()


def test_a_magnitude_that_was_trained_under_the_norm_of_the_base(tmp_path: Path) -> None:
    source = LAYER.replace(
        "self.magnitude / adapted.norm(dim=1)", "self.magnitude / self.base.weight.norm(dim=1)"
    )
    assert lint_files(tmp_path, {"lora_dora.py": source}, codes=["LS410"]) == ()


@pytest.mark.parametrize("name", LEFT_OUT)
def test_magnitude_left_out(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_dora.py": LAYER + LEFT_OUT[name]}, codes=["LS411"])
    assert [finding.code for finding in found] == ["LS411"]


@pytest.mark.parametrize("name", KEPT)
def test_magnitude_kept(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_dora.py": LAYER + KEPT[name]}, codes=["LS411"]) == ()


def test_a_norm_of_the_base_and_of_more_than_a_delta(tmp_path: Path) -> None:
    file = tmp_path / "lora.py"
    file.write_text("""\
import torch


def merge(weight, lora_A, lora_B, scaling, dora_scale, more):
    delta = lora_B @ lora_A * scaling
    if more is not None:
        delta = lora_B @ lora_A * scaling + more.left @ more.right
    norm = torch.linalg.norm(weight + delta, dim=1)
    return (dora_scale / norm).view(-1, 1) * (weight + delta)
""")
    ledger, failures = examine_paths([file], [])
    assert not failures
    assert {norm.of for norm in ledger.norms} == {"adapted"}


PARAMETRISED = """
import torch
from torch import nn


class LoraWeight(nn.Module):
    def __init__(self, out, width, rank, alpha, kind, turned):
        super().__init__()
        self.pair = (lambda both: (both[1], both[0])) if turned else (lambda both: both)
        self.lora_A = nn.Parameter(torch.zeros(self.pair((rank, width))))
        self.lora_B = nn.Parameter(torch.zeros(self.pair((out, rank))))
        self.trained = alpha / rank
        self.lora_strength = 1.0
        self.magnitude = nn.Parameter(torch.ones(out))
        if kind == "rows":
            self.change = self.along_rows
        else:
            self.change = self.plain

    def plain(self, weight):
        delta = torch.matmul(*self.pair((self.lora_B, self.lora_A)))
        return weight + self.trained * self.lora_strength * delta

    def along_rows(self, weight):
        delta = torch.matmul(*self.pair((self.lora_B, self.lora_A)))
        {sum}

    def forward(self, weight):
        return self.change(weight)
"""
INSIDE = """turned = weight + self.trained * self.lora_strength * delta
        return turned / turned.norm(dim=1, keepdim=True) * self.magnitude.unsqueeze(1)"""
OUTSIDE = """turned = weight + self.trained * delta
        full = turned / turned.norm(dim=1, keepdim=True) * self.magnitude.unsqueeze(1)
        return weight + self.lora_strength * (full - weight)"""


@pytest.mark.parametrize(("text", "expected"), [(INSIDE, ["LS403"]), (OUTSIDE, [])])
def test_factors_behind_a_star(text: str, expected: list[str], tmp_path: Path) -> None:
    source = PARAMETRISED.format(sum=text)
    found = lint_files(tmp_path, {"lora_weight.py": source}, codes=["LS403", "LS411"])
    assert [finding.code for finding in found] == expected


def test_a_plain_sum_that_is_no_choice(tmp_path: Path) -> None:
    source = PARAMETRISED.format(sum=OUTSIDE).replace("self.change = self.plain", "self.change = None")
    found = lint_files(tmp_path, {"lora_weight.py": source}, codes=["LS411"])
    assert [finding.code for finding in found] == ["LS411"]


PLAIN = """\
from safetensors.torch import load_file


def merge(model, path):
    sd = load_file(path)
    {first}
    for key in [k for k in sd if k.endswith(".lora_down.weight")]:
        stem = key[: -len(".lora_down.weight")]
        {inside}
        down, up = sd[key], sd[stem + ".lora_up.weight"]
        scale = sd[stem + ".alpha"].item() / down.shape[0]
        model.get_parameter(stem + ".weight").data += scale * up @ down
"""


@pytest.mark.parametrize(
    ("first", "inside", "expected"),
    [
        ("print(sum(k.endswith('.dora_scale') for k in sd), 'magnitudes')", "pass", ["medium"]),
        ("print(len(sd), 'tensors')", "pass", []),
        ("pass", "if stem + '.dora_scale' in sd:\n            continue", []),
        ("pass", "if stem + '.dora_scale' in sd:\n            raise ValueError(stem)", []),
    ],
)
def test_a_merge_that_knows_of_magnitudes_and_leaves_them_out(
    first: str, inside: str, expected: list[str], tmp_path: Path
) -> None:
    """LS408: who names the key knows that there are such files."""
    source = PLAIN.format(first=first, inside=inside)
    found = lint_files(tmp_path, {"dora_merge.py": source}, codes=["LS408"])
    assert [item.confidence for item in found] == expected


ON_PEFT = """\
import torch
from peft.tuners.lora import LoraLayer


class LowBitLoraLinear(torch.nn.Module, LoraLayer):
    def __init__(self, base_layer, adapter_name, r=0, lora_alpha=1, use_dora=False, **kwargs):
        super().__init__()
        LoraLayer.__init__(self, base_layer, **kwargs)
        {asks}
        self.update_layer(adapter_name, r, lora_alpha=lora_alpha{handed})

    def forward(self, x):
        result = self.base_layer(x)
        for name in self.active_adapters:
            {inside}
            lora_A, lora_B = self.lora_A[name], self.lora_B[name]
            result += lora_B(lora_A(x)) * self.scaling[name]
        return result
"""


@pytest.mark.parametrize(
    ("asks", "handed", "inside", "count"),
    [
        ("pass", ", use_dora=use_dora", "pass", 1),
        ("pass", "", "pass", 0),
        ("assert not use_dora", ", use_dora=use_dora", "pass", 0),
        ("pass", ", use_dora=use_dora", "assert not self.use_dora[name]", 0),
    ],
)
def test_a_layer_on_peft_that_ignores_dora(
    asks: str, handed: str, inside: str, count: int, tmp_path: Path
) -> None:
    """LS411: what `use_dora` makes, the forward applies, or the layer refuses it."""
    source = ON_PEFT.format(asks=asks, handed=handed, inside=inside)
    assert len(lint_files(tmp_path, {"low_bit.py": source}, codes=["LS411"])) == count
