"""Correct code that looks like a bug gives no finding of any rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

INIT = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
"""
MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""

FOLDED = {
    "into the start values of a factor": INIT
    + MERGE
    + """
    def reset_parameters(self):
        torch.nn.init.kaiming_uniform_(self.lora_A.weight, self.lora_alpha / self.lora_rank)
        torch.nn.init.zeros_(self.lora_B.weight)
""",
    "into a factor by the setter": INIT
    + MERGE
    + """
    def set_lora_weights(self, A, B, alpha):
        self.lora_A = A
        self.lora_B = B * (alpha / A.shape[0])
        self.lora_alpha = self.lora_rank = A.shape[0]
""",
    "over both factors by square roots": INIT
    + MERGE
    + """
    def set_lora_weights(self, A, B, alpha):
        root = (alpha / A.shape[0]) ** 0.5
        self.lora_A = A * root
        self.lora_B = B * root
        self.lora_alpha = self.lora_rank = A.shape[0]
""",
    "by an optimize step": INIT
    + MERGE
    + """
    def optimize(self):
        self.lora_B.mul_(self.lora_alpha / self.lora_rank)
        self.lora_alpha = self.lora_rank
""",
    "by a pack step of another class": INIT
    + MERGE
    + """

class LoRAPacker:
    def pack(self, layers):
        for layer in layers:
            layer.lora_B.data *= layer.lora_alpha / layer.lora_rank
            layer.lora_alpha = layer.lora_rank
""",
    "at load, over both by powers of two": """\
def load_lora(model, lora_sd):
    for name, module in model.items():
        down = lora_sd[name + ".lora_down.weight"]
        up = lora_sd[name + ".lora_up.weight"]
        scale = lora_sd[name + ".alpha"].item() / down.shape[0]
        scale_down, scale_up = scale, 1.0
        while scale_down * 2 < scale_up:
            scale_down *= 2
            scale_up /= 2
        module.weight.data += (up * scale_up) @ (down * scale_down)
""",
    "into B of a batched kernel": INIT
    + """
    def stack(self):
        self.lora_b_stacked[0].copy_(self.lora_B * (self.lora_alpha / self.lora_rank))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_a_stacked[0].T) @ self.lora_b_stacked[0].T
""",
    "before the setter is called": INIT
    + MERGE
    + """
    def set_lora_weights(self, lora_A, lora_B):
        self.lora_A = lora_A
        self.lora_B = lora_B


def load(layer, tensors, lora_alpha):
    lora_A, lora_B = tensors["x.lora_A"], tensors["x.lora_B"]
    layer.set_lora_weights(lora_A, lora_B * (lora_alpha / lora_A.shape[0]))
""",
}

FOLDED["into the start values of factors that only their extents tell"] = """\
class LoRAAttention(nn.Module):
    def __init__(self, dim, rank, alpha):
        self.rank, self.alpha = rank, alpha
        self.q_in = nn.Linear(dim, rank, bias=False)
        self.q_out = nn.Linear(rank, dim, bias=False)
        nn.init.kaiming_uniform_(self.q_in.weight, self.alpha / self.rank)

    @property
    def q_weight(self):
        return torch.einsum("o r, r i -> o i", self.q_out.weight, self.q_in.weight)

    def merge(self, module):
        module.q_proj_weight.data += self.q_weight.data
"""

BARE = {
    "a helper whose caller scales": INIT
    + """
    def lora_delta(self):
        return self.lora_B @ self.lora_A

    def merge(self):
        self.base_layer.weight.data += self.lora_delta() * (self.lora_alpha / self.lora_rank)
""",
    "a property that the base class scales": """\
class LoRABase:
    def merge(self):
        self.base_layer.weight.data += self.delta * (self.lora_alpha / self.lora_rank)


class LoRALinear(LoRABase):
    @property
    def delta(self):
        return self.lora_B @ self.lora_A
""",
    "a product with a scaling argument": INIT
    + """
    def product(self, gamma=1.0):
        return gamma * (self.lora_B @ self.lora_A)

    def merge(self):
        self.base_layer.weight.data += self.product(gamma=self.lora_alpha / self.lora_rank)
""",
    "scaling=1 for a delta that is scaled": INIT
    + """
    def scaled_delta(self):
        return self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)

    def apply(self, delta, scaling):
        self.base_layer.weight.data += scaling * delta

    def merge(self):
        self.apply(self.scaled_delta(), scaling=1)
""",
    "a local alpha that is alpha / rank": """\
def merge_lora(weight, lora_up, lora_down, alpha):
    alpha = alpha / lora_down.shape[0]
    weight.data += alpha * (lora_up @ lora_down)
""",
    "a strength called alpha": """\
def merge_lora(weight, lora_up, lora_down, alpha=0.75):
    weight.data += alpha * (lora_up @ lora_down)
""",
    "an argument lora_scaling that is alpha": INIT.replace("lora_alpha)", "lora_scaling)").replace(
        "self.lora_alpha = lora_alpha", "self.scaling = lora_scaling / lora_rank"
    )
    + """
    def merge(self):
        self.base_layer.weight.data += self.scaling * (self.lora_B @ self.lora_A)
""",
}

CONVENTIONS = {
    "kohya: alpha None or 0 means rank": """\
class LoRAModule:
    def __init__(self, org_module, lora_dim=4, alpha=1):
        self.org_module = org_module
        self.lora_dim = lora_dim
        alpha = self.lora_dim if alpha is None or alpha == 0 else alpha
        self.scale = alpha / self.lora_dim

    def forward(self, x):
        return self.org_module(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale
""",
    "control LoRA without alpha": """\
class LinearLora:
    def __init__(self, rank, scale=1.0):
        self.rank = rank
        self.scale = scale

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scale
""",
    "mlx scale": """\
class LoRALinear:
    def __init__(self, r=8, scale=20.0):
        self.scale = scale

    def __call__(self, x):
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return self.linear(x) + (self.scale * z).astype(x.dtype)

    def fuse(self):
        self.linear.weight += (self.scale * self.lora_b.T) @ self.lora_a.T
""",
    "mistral scaling": """\
class LoRALinear:
    def __init__(self, in_features, out_features, rank, scaling):
        self.rank = rank
        self.scaling = scaling

    def forward(self, x):
        return self.linear(x) + self.lora_B(self.lora_A(x)) * self.scaling

    def merge(self, down, up):
        self.linear.weight.data += up @ down * self.scaling
""",
    "an implementation without any scale": """\
class LoRALinear:
    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))
""",
}

COMPENSATIONS = {
    "rank / alpha at extraction": """\
def extract_lora(u, s, v, lora_rank, lora_alpha):
    lora_up = u @ s * (lora_rank / lora_alpha)
    return {"x.lora_up.weight": lora_up, "x.lora_down.weight": v, "x.alpha": lora_alpha}
""",
    "an initialiser divides by the scale": INIT
    + """
    def pissa_init(self, u, s, v):
        scale = self.lora_alpha / self.lora_rank
        self.lora_A = s @ v / scale
        self.lora_B = u
        self.base_layer.weight.data -= scale * (self.lora_B @ self.lora_A)

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A.T @ self.lora_B.T) * (self.lora_alpha / self.lora_rank)
""",
    "new alpha after an SVD": """\
def resize_lora(lora_sd, new_rank):
    out = {}
    for name in lora_sd:
        down = lora_sd[name + ".lora_down.weight"]
        up = lora_sd[name + ".lora_up.weight"]
        scale = lora_sd[name + ".alpha"] / down.shape[0]
        out[name + ".lora_down.weight"], out[name + ".lora_up.weight"] = svd(up @ down, new_rank)
        out[name + ".alpha"] = scale * new_rank
    return out
""",
    "q, k and v fused": """\
def convert_lora(lora_sd, name):
    out = {}
    n = 3
    out[name + ".lora_A"] = cat([lora_sd[f"{name}_{part}.lora_down.weight"] for part in "qkv"])
    out[name + ".lora_B"] = block_diag([lora_sd[f"{name}_{part}.lora_up.weight"] for part in "qkv"])
    out[name + ".alpha"] = lora_sd[f"{name}_q.alpha"] * n
    return out
""",
}

OTHER_ALPHAS = {
    "blending": "def lora_blend(a, b, alpha):\n    return a * alpha + b * (1 - alpha)\n",
    "lerp": "def lora_ema(ema, w, alpha):\n    ema.weight.data += alpha * (w - ema.weight.data)\n",
    "attention": "def lora_attention(q, k, v, rank):\n    return (q @ k.T * rank ** -0.5) @ v\n",
    "sgd": "def lora_step(p, lr):\n    p.weight.data.add_(p.weight.grad, alpha=-lr)\n",
    "process rank": "def lora_log(rank, alpha):\n    if rank == 0:\n        print(alpha // 2)\n",
    "int after a type check": (
        "class LoRALinear:\n    def set(self, lora_alpha: float):\n"
        "        if isinstance(lora_alpha, float) and lora_alpha.is_integer():\n"
        "            self.lora_alpha = int(lora_alpha)\n"
    ),
    "divisible by a guard": (
        "class LoRALinear:\n    def set(self, lora_alpha, lora_rank):\n"
        "        if lora_alpha % lora_rank:\n            raise ValueError(lora_alpha)\n"
        "        self.scaling = lora_alpha // lora_rank\n"
    ),
    "focal loss": "def lora_focal(p, alpha=0.25):\n    return -alpha * (1 - p) ** 2 * p.log()\n",
    "radio": "class LoRaModem:\n    def __init__(self, alpha):\n        self.alpha = alpha\n"
    "    def send(self, x, A, B):\n        return self.base(x) + B @ A\n",
}

EXACT_UNMERGE = {
    "the saved weight is put back": INIT
    + """
        self.cpu_weight = base_layer.weight.to("cpu")

    def merge(self):
        self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)

    def unmerge(self):
        self.base_layer.weight.data = self.cpu_weight.to(self.base_layer.weight.device)
""",
    "the stored delta is subtracted": INIT
    + """
    def merge(self):
        self.lora_delta = self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
        self.base_layer.weight.data += self.lora_delta

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta
""",
    "scale between A and B, and a rank dropout": INIT
    + """
    def forward(self, x):
        h = x @ self.lora_A.T
        scale = self.lora_alpha / self.lora_rank
        if self.rank_dropout:
            scale = scale * (1.0 / (1.0 - self.rank_dropout))
        return self.base_layer(x) + (h * scale) @ self.lora_B.T
""",
    "scale in an autograd function": INIT
    + """
    def forward(self, x):
        return LoRAFunction.apply(x, self.lora_A, self.lora_B, self.lora_alpha / self.lora_rank)


class LoRAFunction:
    @staticmethod
    def forward(ctx, x, A, B, s):
        return x + s * (x @ A.T @ B.T)
""",
    "scale per token": INIT
    + """
    def forward(self, x, scales):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return self.base_layer(x) + delta * scales[:, None]
""",
}
SCALED_MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
"""
BARE_FORWARD = """
    def forward(self, x):
        if {test}:
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T
        raise NotImplementedError
"""
BARE_PROPERTY = """
    @property
    def lora_scale(self):
        if {test}:
            return 1.0

    def forward(self, x):
        return self.base_layer(x) + self.lora_scale * (x @ self.lora_A.T @ self.lora_B.T)
"""
NO_NUMBER = [
    "self.lora_alpha is None",
    "not self.lora_alpha",
    "self.lora_alpha is None or self.lora_rank is None",
    "not (self.lora_alpha and self.lora_rank)",
    "self.training and self.lora_alpha is None",
]
"""What is asked where no alpha is there: the scale of such an adapter is 1."""
WITHOUT_ALPHA = {
    f"{kind} if {test}": INIT + SCALED_MERGE + text.format(test=test)
    for kind, text in (("forward", BARE_FORWARD), ("property", BARE_PROPERTY))
    for test in NO_NUMBER
}
TABLES = [WITHOUT_ALPHA, FOLDED, BARE, CONVENTIONS, COMPENSATIONS, OTHER_ALPHAS, EXACT_UNMERGE]


@pytest.mark.parametrize(
    "source", [pytest.param(source, id=name) for table in TABLES for name, source in table.items()]
)
def test_no_finding(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": source})
    assert [(item.code, item.span.start.row, item.message) for item in found] == []


def test_floor_division_behind_an_assertion_that_it_divides(tmp_path: Path) -> None:
    source = (
        "class LoRALinear:\n    def set(self, lora_alpha, lora_rank):\n"
        "        assert lora_alpha % lora_rank == 0\n"
        "        self.scaling = lora_alpha // lora_rank\n"
    )
    assert lint_files(tmp_path, {"lora_layer.py": source}) == ()


@pytest.mark.parametrize(
    ("name", "fold"),
    [
        ("into a factor by the setter", " * (alpha / A.shape[0])"),
        ("over both factors by square roots", " * root"),
        ("by an optimize step", ".mul_(self.lora_alpha / self.lora_rank)"),
        ("by a pack step of another class", " *= layer.lora_alpha / layer.lora_rank"),
        ("before the setter is called", " * (lora_alpha / lora_A.shape[0])"),
    ],
    ids=lambda value: value,
)
def test_without_its_fold_the_same_code_is_reported(name: str, fold: str, tmp_path: Path) -> None:
    assert fold in FOLDED[name]
    found = lint_files(tmp_path, {"lora_layer.py": FOLDED[name].replace(fold, "")}, codes=["LS101"])
    assert [item.code for item in found] == ["LS101"]


def test_a_class_beside_it_that_scales_is_no_evidence(tmp_path: Path) -> None:
    """Two subclasses of one base apply deltas of their own; only one design has a trained scale."""
    source = """\
class LoRABase:
    def __init__(self, base_layer, lora_A, lora_B):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B


class Scaled(LoRABase):
    def forward(self, x, lora_alpha, lora_rank):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * (lora_alpha / lora_rank)


class Direct(LoRABase):
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T
"""
    assert lint_files(tmp_path, {"lora.py": source}) == ()


@pytest.mark.parametrize("test", ["self.training", "self.lora_alpha", "self.training or not self.lora_alpha"])
@pytest.mark.parametrize("text", [BARE_FORWARD, BARE_PROPERTY])
def test_another_condition_does_not_say_that_there_is_no_alpha(test: str, text: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": INIT + SCALED_MERGE + text.format(test=test)})
    assert [item.code for item in found] == ["LS102"]
