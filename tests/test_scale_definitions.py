"""What a class stores as its scale: alpha undivided (LS107), a literal (LS102), the square (LS106)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base, rank, {alpha}):
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank)
        self.lora_B = nn.Linear(rank, base.out_features)
        {made}

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""

WRONG = {
    "stored undivided": ("LS107", LAYER.format(alpha="lora_alpha=1", made="self.scaling = lora_alpha")),
    "replaced by the rank if missing": (
        "LS107",
        LAYER.format(alpha="alpha=None", made="self.scaling = rank if alpha is None else alpha"),
    ),
    "taken by a method": (
        "LS107",
        """\
class LoraLayer:
    def __init__(self):
        self.lora_A, self.lora_B, self.scaling = {}, {}, {}

    def update_layer(self, name, r, lora_alpha):
        self.scaling[name] = lora_alpha
""",
    ),
    "of a configuration": (
        "LS107",
        """\
class LoRALinear:
    def __init__(self, base, config):
        self.base = base
        self.lora_A = nn.Parameter(torch.zeros(config.lora_r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.lora_r))
        self.scaling = config.lora_alpha

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling
""",
    ),
    "a literal, and alpha not used": ("LS102", LAYER.format(alpha="lora_alpha", made="self.scaling = 1.0")),
    "a literal, and alpha only kept": (
        "LS102",
        LAYER.format(alpha="lora_alpha", made="self.lora_alpha, self.scaling = lora_alpha, 1.0"),
    ),
    "twice in one argument": (
        "LS106",
        """\
class LoRALinear:
    def __init__(self, base, rank, lora_alpha):
        self.base = base
        self.scaling = lora_alpha / rank

    def merge(self):
        self.base.weight.data.addmm_(self.lora_B, self.lora_A, alpha=self.scaling * self.scaling)
""",
    ),
    "twice into one factor": (
        "LS106",
        """\
def load_lora(state_dict, name):
    down = state_dict[name + ".lora_down.weight"]
    scale = state_dict[name + ".alpha"] / down.shape[0]
    return down * scale * scale, state_dict[name + ".lora_up.weight"]
""",
    ),
}

RIGHT = {
    "a strength": LAYER.format(alpha="alpha=1.0", made="self.scaling = alpha"),
    "divided by the caller": LAYER.format(alpha="lora_alpha", made="self.scaling = lora_alpha")
    + "\ndef make(base, rank, alpha):\n    return LoRALinear(base, rank, alpha / rank)\n",
    "divided where it is used": LAYER.format(
        alpha="lora_alpha", made="self.scaling, self.rank = lora_alpha, rank"
    )
    + "\n    def merge(self):\n        self.base.weight.data += self.scaling / self.rank * self.product()\n",
    "a literal that another object sets": LAYER.format(alpha="lora_alpha", made="self.scaling = 1.0")
    + "\ndef prepare(layer, scaling):\n    layer.scaling = scaling\n",
    "a literal, and alpha in the factor": LAYER.format(alpha="lora_alpha", made="self.scaling = 1.0").replace(
        "self.lora_B = nn.Linear(rank, base.out_features)",
        "self.lora_B = scaled(nn.Linear(rank, base.out_features), lora_alpha / rank)",
    ),
    "a root on each side": """\
class LoRALinear:
    def forward(self, x):
        root = (self.lora_alpha / self.rank) ** 0.5
        return self.base(x) + ((x @ self.lora_A.T) * root) @ self.lora_B.T * root
""",
}


@pytest.mark.parametrize(
    ("code", "source"), [pytest.param(code, source, id=name) for name, (code, source) in WRONG.items()]
)
def test_reported(code: str, source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": source}, codes=[code])
    assert [item.code for item in found] == [code]


@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in RIGHT.items()])
def test_silent(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": source}, codes=["LS101", "LS102", "LS106", "LS107"])
    assert [(item.code, item.message) for item in found] == []


KEPT_FOR_HEIRS = {
    "plain.py": """\
class LoraLayer:
    def __init__(self):
        self.lora_A, self.lora_B, self.r, self.scaling = {}, {}, {}, {}

    def update_layer(self, name, r, lora_alpha):
        self.r[name] = r
        self.lora_A[name] = nn.Linear(self.in_features, r)
        self.lora_B[name] = nn.Linear(r, self.out_features)
        self.scaling[name] = lora_alpha / r
""",
    "adaptive.py": """\
from plain import LoraLayer


class AdaptiveLayer(LoraLayer):
    def __init__(self):
        super().__init__()
        self.lora_A, self.lora_B = nn.ParameterDict({{}}), nn.ParameterDict({{}})
        self.kept_rank = nn.ParameterDict({{}})

    def update_layer(self, name, r, lora_alpha):
        self.lora_A.update({{name: nn.Parameter(torch.randn(r, self.in_features))}})
        self.lora_B.update({{name: nn.Parameter(torch.randn(self.out_features, r))}})
        self.kept_rank.update({{name: nn.Parameter(torch.randn(1))}})
        self.kept_rank[name].data.fill_(float(r))
        self.scaling[name] = lora_alpha if lora_alpha > 0 else float(r)


class AdaptiveLinear(nn.Linear, AdaptiveLayer):
    def __init__(self, name, in_features, out_features, r, lora_alpha):
        nn.Linear.__init__(self, in_features, out_features)
        AdaptiveLayer.__init__(self)
        self.update_layer(name, r, lora_alpha)
        self.active = name

    def forward(self, x):
        delta = x @ self.lora_A[self.active].T @ self.lora_B[self.active].T * self.scaling[self.active]
        return F.linear(x, self.weight) + delta{divided}


def add_adapter(target, config):
    if isinstance(target, AdaptiveLayer):
        target.update_layer("default", config.r, config.lora_alpha)
""",
}


@pytest.mark.parametrize(
    ("divided", "codes"), [(" / (self.kept_rank[self.active] + 1e-5)", []), ("", ["LS107"])]
)
def test_alpha_that_classes_below_divide(divided: str, codes: list[str], tmp_path: Path) -> None:
    files = {
        name: source.format(divided=divided) if name == "adaptive.py" else source
        for name, source in KEPT_FOR_HEIRS.items()
    }
    assert [finding.code for finding in lint_files(tmp_path, files, codes=["LS107"])] == codes
