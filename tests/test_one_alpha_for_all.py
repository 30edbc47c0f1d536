"""LS307 in other spellings, and single alphas that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FIRING = {
    "kept once, in a loop": """
def resize_lora(lora_sd):
    alpha = None
    dim = None
    for key, value in lora_sd.items():
        if alpha is None and "alpha" in key:
            alpha = value
        if dim is None and "lora_down" in key:
            dim = value.size()[0]
    scale = alpha / dim
    resized = {}
    for key, value in lora_sd.items():
        resized[key] = value * scale
    return resized
""",
    "a loop that stops at the first": """
def convert(lora_sd):
    alpha = None
    for key in lora_sd:
        if key.endswith(".alpha"):
            alpha = lora_sd[key].item()
            break
    for key in lora_sd:
        if "lora_up" in key:
            lora_sd[key] = lora_sd[key] * (alpha / 4)
    return lora_sd
""",
    "the first of all keys, by next": """
def load(lora_sd):
    alpha_key = next(key for key in lora_sd if key.endswith(".alpha"))
    rank_key = next(key for key in lora_sd if "lora_down" in key)
    scale = lora_sd[alpha_key].item() / lora_sd[rank_key].shape[0]
    for key in lora_sd:
        if "lora_up" in key:
            lora_sd[key] = lora_sd[key] * scale
    return lora_sd
""",
    "the first of a list": """
def merge(base, lora_sd):
    alphas = [value.item() for key, value in lora_sd.items() if key.endswith(".alpha")]
    alpha = alphas[0]
    for key in lora_sd:
        if key.endswith("lora_down.weight"):
            up = lora_sd[key.replace("lora_down", "lora_up")]
            base[key] += alpha / up.shape[1] * (up @ lora_sd[key])
    return base
""",
    "in place": """
def convert(lora_sd):
    def first_alpha(state_dict):
        for name, param in state_dict.items():
            if ".alpha" in name:
                return param.item()
        return 1
    alpha = first_alpha(lora_sd)
    for name, param in lora_sd.items():
        param *= alpha
    return lora_sd
""",
}
SILENT = {
    "a list that holds one alpha only": """
def merge(base, lora_sd):
    alphas = [value.item() for key, value in lora_sd.items() if key.endswith(".alpha")]
    if len(set(alphas)) > 1:
        raise ValueError("alphas differ")
    alpha = alphas[0]
    for key in lora_sd:
        if key.endswith("lora_down.weight"):
            up = lora_sd[key.replace("lora_down", "lora_up")]
            base[key] += alpha / up.shape[1] * (up @ lora_sd[key])
    return base
""",
    "alpha of the same module": """
def merge_lora(lora_sd):
    scaled = {}
    for key, value in lora_sd.items():
        if "alpha" in key:
            alpha = value
        elif "lora_down" in key:
            scaled[key] = value * alpha / value.shape[0]
    return scaled
""",
    "a default for modules without one": """
def merge_lora(lora_sd):
    default = None
    for key, value in lora_sd.items():
        if default is None and "alpha" in key:
            default = value
    scaled = {}
    for key, value in lora_sd.items():
        alpha = lora_sd.get(key.split(".")[0] + ".alpha", default)
        scaled[key] = value * alpha
    return scaled
""",
    "only printed": """
def describe_lora(lora_sd):
    alpha = None
    for key, value in lora_sd.items():
        if alpha is None and "alpha" in key:
            alpha = value
    print(alpha)
    return {key: value.float() for key, value in lora_sd.items()}
""",
    "refused if they differ": """
def convert_lora(lora_sd):
    alpha = None
    for key, value in lora_sd.items():
        if "alpha" in key:
            if alpha is not None and value != alpha:
                raise ValueError("alphas differ")
            alpha = value
    converted = {}
    for key, value in lora_sd.items():
        converted[key] = value * alpha
    return converted
""",
    "of a module that is asked for": """
def alpha_of(lora_sd, module):
    for key, value in lora_sd.items():
        if key.startswith(module) and key.endswith(".alpha"):
            return value.item()
    return None

def convert_lora(lora_sd):
    converted = {}
    for key, value in lora_sd.items():
        alpha = alpha_of(lora_sd, key.split(".")[0])
        converted[key] = value * alpha
    return converted
""",
    "the alpha of a group": """
def grouped(lora_sd):
    modules = {}
    for key, value in lora_sd.items():
        name, part = key.rsplit(".", 1)
        if name not in modules:
            modules[name] = {}
        modules[name][part] = value
    return modules

def apply_lora(target, path, keys, strength):
    modules = grouped(load_file(path))
    for index, name in enumerate(sorted(modules.keys())):
        params = modules[name]
        alpha = params.get("alpha", None)
        down = params["lora_down.weight"].float()
        diff = params["lora_up.weight"].float() @ down * (float(alpha) / down.shape[0] * strength)
        for key in keys:
            if key in target:
                target[key] += diff
""",
    "an image": """
def blend(lora_layers):
    alpha = None
    for name, layer in lora_layers.items():
        if name == "alpha":
            alpha = layer
    return alpha
""",
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": FIRING[name]})]
    assert found.count("LS307") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": SILENT[name]})]
    assert "LS307" not in found


LAYER = """\
import torch
from torch import nn


class MultiLora(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base, self.down, self.up = base, nn.ModuleDict(), nn.ModuleDict()
        self.scaling, self.active = {{}}, []

    def add(self, name, r, lora_alpha):
        self.down[name] = nn.Linear(self.base.in_features, r, bias=False)
        self.up[name] = nn.Linear(r, self.base.out_features, bias=False)
        self.scaling[name] = lora_alpha / r

    def forward(self, x):
        y = self.base(x)
        {taken}
        for {loop}:
            {inside}
            y = y + self.up[name](self.down[name](x)) * scale
        return y
"""


@pytest.mark.parametrize(
    ("taken", "loop", "inside", "count"),
    [
        ("scale = self.scaling[self.active[0]]", "name in self.active", "pass", 1),
        ("scale = self.scaling[next(iter(self.active))]", "name in self.active", "pass", 1),
        ("scale = next(iter(self.scaling.values()))", "name, _ in self.scaling.items()", "pass", 1),
        ("scale = self.scaling[self.active[-1]]", "i, name in enumerate(self.active)", "pass", 1),
        ("pass", "name in self.active", "scale = self.scaling[name]", 0),
        ("scale = self.scaling[self.active[0]]", "name in self.active[:1]", "pass", 0),
        ("scale = 0.0", "name in self.active", "scale = self.scaling[name]", 0),
        ("pass", "name, scale in self.scaling.items()", "pass", 0),
    ],
)
def test_the_scale_of_the_first_adapter(
    taken: str, loop: str, inside: str, count: int, tmp_path: Path
) -> None:
    source = LAYER.format(taken=taken, loop=loop, inside=inside)
    assert len(lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS307"])) == count


def test_the_alpha_of_each_pair_of_a_walk(tmp_path: Path) -> None:
    source = """
class LoraBank:
    def __init__(self, lora_up, lora_down, alphas):
        self.lora_up, self.lora_down, self.alphas = lora_up, lora_down, alphas

    def apply(self, weights, strength):
        for name, alpha in self.alphas.items():
            up, down = self.lora_up[name], self.lora_down[name]
            up = up * (strength * alpha / down.shape[0])
            weights[name] += up @ down
"""
    assert lint_files(tmp_path, {"lora_bank.py": source}) == ()


def test_alphas_brought_to_that_of_the_first(tmp_path: Path) -> None:
    source = """
def to_one_alpha(lora_parts):
    up_1, down_1, alpha_1 = lora_parts[0]
    out = []
    for lora_up, lora_down, alpha in lora_parts:
        lora_up = lora_up * (alpha / alpha_1)
        out.append((lora_up, lora_down, alpha_1))
    return out
"""
    assert lint_files(tmp_path, {"lora_parts.py": source}, codes=["LS307"]) == ()


BANK = """
import torch
from safetensors.torch import load_file


class LoraBranch(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.lora_down = torch.nn.Linear(layer.in_features, rank, bias=False)
        self.lora_up = torch.nn.Linear(rank, layer.out_features, bias=False)
        self.layer = layer
        self.resize(rank, alpha)

    def resize(self, rank, alpha):
        self.scale = alpha / rank

    def forward(self, x):
        return self.layer(x) + self.lora_up(self.lora_down(x)) * self.scale


class Bank:
    def __init__(self, layers):
        self.branches = {{name: LoraBranch(layer, 4, 4) for name, layer in layers.items()}}

    def load(self, path):
        entries = load_file(path)
        alpha = rank = None
        for key, value in entries.items():
            {first}
            if rank is None and "lora_down" in key:
                rank = value.size()[0]
        {missing}
        for name, branch in self.branches.items():
            {each}
            {use}
"""
FIRST = 'if alpha is None and "alpha" in key: alpha = value'


@pytest.mark.parametrize(
    ("first", "missing", "each", "use", "expected"),
    [
        (FIRST, "alpha = rank if alpha is None else alpha", "pass", "branch.resize(rank, alpha)", ["medium"]),
        (FIRST, "if alpha is None: alpha = rank", "pass", "branch.resize(rank, alpha)", ["medium"]),
        (FIRST, "pass", "pass", "self.branches[name] = LoraBranch(branch.layer, rank, alpha)", ["medium"]),
        (FIRST, "pass", 'alpha = entries[f"{name}.alpha"]', "branch.resize(rank, alpha)", []),
        ("pass", "alpha = rank", "pass", "branch.resize(rank, alpha)", []),
        (FIRST, "if alpha is None: alpha = rank", "pass", "print(name, alpha)", []),
    ],
)
def test_layers_that_are_given_the_alpha_of_the_first(
    first: str, missing: str, each: str, use: str, expected: list[str], tmp_path: Path
) -> None:
    source = BANK.format(first=first, missing=missing, each=each, use=use)
    found = lint_files(tmp_path, {"lora_bank.py": source}, codes=["LS307"])
    assert [finding.confidence for finding in found] == expected


def test_a_name_that_is_asked_for_again_after_a_loop_has_set_it(tmp_path: Path) -> None:
    source = FIRING["kept once, in a loop"].replace(
        "    scale = alpha / dim", "    if alpha is None:\n        alpha = dim\n    scale = alpha / dim"
    )
    assert [finding.code for finding in lint_files(tmp_path, {"convert.py": source})].count("LS307") == 1
