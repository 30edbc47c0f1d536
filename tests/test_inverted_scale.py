"""LS111: rank / alpha in place of alpha / rank, and the correct code that looks like it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base, rank, lora_alpha):
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank)
        self.lora_B = nn.Linear(rank, base.out_features)
        {made}

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * {used}
"""

WRONG = {
    "attribute": LAYER.format(made="self.scaling = rank / lora_alpha", used="self.scaling"),
    "square root": LAYER.format(made="self.scaling = math.sqrt(rank) / lora_alpha", used="self.scaling"),
    "buffer": LAYER.format(
        made='self.register_buffer("scale", torch.tensor(rank / lora_alpha))', used="self.scale"
    ),
    "one branch": LAYER.format(
        made="self.scaling = 1.0 if lora_alpha is None else rank / lora_alpha", used="self.scaling"
    ),
    "getter": LAYER.format(made="self.rank, self.lora_alpha = rank, lora_alpha", used="self.get_scale()")
    + "\n    def get_scale(self):\n        return self.rank / self.lora_alpha\n",
    "inline": LAYER.format(
        made="self.rank, self.lora_alpha = rank, lora_alpha", used="(self.rank / self.lora_alpha)"
    ),
    "by adapter": """\
class LoraLayer:
    def __init__(self):
        self.lora_A, self.lora_B, self.scaling = {}, {}, {}

    def update_layer(self, name, r, lora_alpha):
        self.scaling[name] = r / lora_alpha
""",
    "extent of a factor": """\
def merge_lora(weight, lora_down, lora_up, lora_alpha):
    weight.data += (lora_up @ lora_down) * (lora_down.shape[0] / lora_alpha)
""",
    "torch's alpha": """\
def merge_lora(weight, lora_A, lora_B, lora_alpha, lora_rank):
    weight.addmm_(lora_B, lora_A, alpha=lora_rank / lora_alpha)
""",
    "dictionary": """\
def init_lora(key, width, rank, alpha):
    return {"lora_a": normal(key, (width, rank)), "lora_b": zeros((rank, width)), "scale": rank / alpha}
""",
}

RIGHT = {
    "divided by": LAYER.format(made="self.scaling = rank / lora_alpha", used="x").replace(
        "* x", "/ self.scaling"
    ),
    "an inverse that says so": LAYER.format(
        made="self.inv_scale = rank / lora_alpha\n        self.scale = lora_alpha / rank", used="self.scale"
    ),
    "extraction": """\
def extract_lora(u, s, v, lora_rank, lora_alpha):
    lora_up = u @ s * (lora_rank / lora_alpha)
    return {"x.lora_up.weight": lora_up, "x.lora_down.weight": v, "x.alpha": lora_alpha}
""",
    "a new alpha for a merged factor": """\
def rescale(state_dict, name, alpha):
    out = {}
    down = state_dict[name + ".lora_down.weight"]
    out[name + ".lora_down.weight"] = down * (down.shape[0] / alpha)
    out[name + ".lora_up.weight"] = state_dict[name + ".lora_up.weight"]
    out[name + ".alpha"] = alpha
    return out
""",
    "no LoRA": "def blend(rank, alpha):\n    scale = rank / alpha\n    return scale\n",
    "another dimension": LAYER.format(made="self.scale = lora_alpha / rank", used="self.scale")
    + "\n    def ratio(self, dim, alpha):\n        return dim / alpha\n",
}


@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in WRONG.items()])
def test_reported(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": source}, codes=["LS111"])
    assert [item.code for item in found] == ["LS111"]


@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in RIGHT.items()])
def test_silent(source: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": source}, codes=["LS111"]) == ()


@pytest.mark.parametrize("source", WRONG.values(), ids=WRONG)
def test_repaired(source: str, tmp_path: Path) -> None:
    texts, left = fix_files(tmp_path, {"lora_layer.py": source})
    assert not re.search(r"rank\)? / ", texts["lora_layer.py"])
    assert left == ()


TABLE = """\
def load_lora(model, sd, names, ranks, alphas):
    table = {{n: ({first}, {second}) for n, r, a in zip(names, ranks, alphas)}}
    for name, module in model.items():
        if name in table:
            {unpacked} = table[name]
            up, down = sd[name + ".lora_up.weight"], sd[name + ".lora_down.weight"]
            module.weight.data += (alpha / rank) * (up @ down)
"""


@pytest.mark.parametrize(
    ("first", "second", "unpacked", "count"),
    [
        ("r", "a", "alpha, rank", 1),
        ("a", "r", "rank, alpha", 1),
        ("r", "a", "rank, alpha", 0),
        ("a", "r", "alpha, rank", 0),
    ],
)
def test_numbers_under_each_others_name(
    first: str, second: str, unpacked: str, count: int, tmp_path: Path
) -> None:
    source = TABLE.format(first=first, second=second, unpacked=unpacked)
    assert len(lint_files(tmp_path, {"lora_load.py": source}, codes=["LS111"])) == count
