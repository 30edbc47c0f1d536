"""LS108: spellings of a scale that reaches no delta, and what only looks unused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.findings import Finding
from tests.projects import fix_files, lint_files

HEADER = """\
import logging
import math
import torch
import torch.nn.functional as F
from torch import nn

logger = logging.getLogger(__name__)
"""
LAYER = """
class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, rank, lora_alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scaling = lora_alpha / rank
"""
FORWARD = """
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T
"""

UNUSED = {
    "local of a merge": """
def merge_lora(weight, lora_A, lora_B, lora_alpha, rank):
    s = lora_alpha / math.sqrt(rank)
    weight.add_(lora_B @ lora_A)
""",
    "local that is only logged": """
def apply_lora(x, base, lora_down, lora_up, lora_alpha, lora_rank):
    scale = lora_alpha / lora_rank
    logger.debug("scale %s", scale)
    return base(x) + lora_up(lora_down(x))
""",
    "local beside the element of a tuple that is used": """
class DyLoRA:
    def parts(self, rank):
        return self.lora_A[:rank], self.lora_B[:, :rank], self.alpha / rank

    def bypass(self, x, scale=1.0):
        down, up, gamma = self.parts(4)
        scale = scale * gamma
        return self.op(self.op(x, down), up)
""",
    "attribute": LAYER + FORWARD,
    "attribute of an embedding beside a linear layer that scales": LAYER
    + """
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


class LoRAEmbedding(nn.Embedding):
    def __init__(self, rows, width, rank, lora_alpha):
        super().__init__(rows, width)
        self.lora_A = nn.Parameter(torch.zeros(rank, rows))
        self.lora_B = nn.Parameter(torch.zeros(width, rank))
        self.scaling = lora_alpha / rank

    def forward(self, x):
        return super().forward(x) + F.embedding(x, self.lora_A.T) @ self.lora_B.T
""",
    "attribute of a layer that looks rows of the delta up": LAYER
    + """
    def forward(self, ids):
        table = self.lora_A @ self.lora_B
        return self.base_layer(ids) + F.embedding(ids, table)
""",
    "alpha of a module whose delta another class adds": """
class LoRAPart(nn.Module):
    def __init__(self, width, rank, alpha):
        super().__init__()
        self.lora_A = nn.Linear(width, rank)
        self.lora_B = nn.Linear(rank, width)
        self.alpha = alpha

    def forward(self, x):
        return self.lora_B(self.lora_A(x))


class LoRAWrapped(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.lora = LoRAPart(linear.in_features, rank, alpha)

    def forward(self, x):
        return self.linear(x) + self.lora(x)
""",
    "strength of a constructor": """
class LoRALinear(nn.Module):
    def __init__(self, base, rank, multiplier=1.0):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank)
        self.lora_B = nn.Linear(rank, base.out_features)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x))
""",
    "strength of a merge": """
def merge_pair(layer, lora_A, lora_B, strength=1.0):
    logger.info(f"merging at {strength}")
    layer.weight.data += lora_B @ lora_A
""",
    "alpha of a merge": """
def merge_pair(weight, lora_A, lora_B, lora_alpha):
    return weight + torch.mm(lora_B, lora_A)
""",
    "strength that is not handed on": """
class Pipeline:
    def load_lora(self, layers, adapter, strength=1.0):
        for name, layer in layers.items():
            self.fuse_pair(layer, adapter[name])

    def fuse_pair(self, layer, entry, strength=1.0):
        layer.weight.data += entry["lora_B"] @ entry["lora_A"] * strength
""",
    "strength that the sibling uses": """
class LoRALinear(nn.Module):
    def lora_delta(self, x, multiplier=1.0):
        return x @ self.lora_A.T @ self.lora_B.T * multiplier


class LoRAConv(nn.Module):
    def lora_delta(self, x, multiplier=1.0):
        return F.conv2d(F.conv2d(x, self.lora_down), self.lora_up)
""",
}

USED = {
    "in a lambda": """
def patch(base, lora_A, lora_B, lora_alpha, rank):
    delta = lora_B @ lora_A
    scale = lora_alpha / rank
    return lambda x: base(x) + x @ (delta * scale).T
""",
    "in a closure that is defined before": """
def patch(base, lora_A, lora_B, lora_alpha, rank):
    def forward(x):
        return base(x) + x @ lora_A.T @ lora_B.T * scale

    scale = lora_alpha / rank
    return forward
""",
    "in the next turn of the loop": """
def merge_all(weight, lora_pairs, lora_alpha, rank):
    scale = 1.0
    for lora_A, lora_B in lora_pairs:
        weight = weight + (lora_B @ lora_A) * scale
        scale = lora_alpha / rank
    return weight
""",
    "written out a second time": """
def merge_pair(weight, lora_A, lora_B, lora_alpha, rank):
    scale = lora_alpha / rank
    return weight + (lora_B @ lora_A) * (lora_alpha / rank)
""",
    "by the function that takes the delta": """
def merge_pair(layer, lora_A, lora_B, lora_alpha, rank):
    scale = lora_alpha / rank
    return put(layer, lora_B @ lora_A)


def put(layer, delta):
    return layer.weight + delta * layer.lora_scaling
""",
    "by deletion": """
def merge_pair(weight, lora_A, lora_B, strength=1.0):
    del strength  # the factors are scaled by the loader
    return weight + lora_B @ lora_A
""",
    "by a test": """
def merge_pair(weight, lora_A, lora_B, strength=1.0):
    if strength != 1.0:
        raise NotImplementedError("strength")
    return weight + lora_B @ lora_A
""",
    "not at all, and says so": '''
def merge_pair(weight, lora_A, lora_B, strength=1.0):
    """Merge one pair. ``strength`` is ignored: the factors are scaled already."""
    return weight + lora_B @ lora_A
''',
    "factor scaled on the way": """
def merge_pair(weight, lora_A, lora_B, lora_alpha, rank):
    lora_B = lora_B * (lora_alpha / rank)
    scale = lora_alpha / rank
    return weight + lora_B @ lora_A
""",
    "interface of which nobody needs the parameter": """
class LoRALinear:
    def lora_delta(self, x, multiplier=1.0):
        return x @ self.lora_A.T @ self.lora_B.T


class LoRAConv:
    def lora_delta(self, x, multiplier=1.0):
        return self.lora_up(self.lora_down(x))
""",
    "stub": """
class LoRABase:
    def merge(self, lora_A, lora_B, strength=1.0):
        raise NotImplementedError

    def unmerge(self, lora_A, lora_B, strength=1.0):
        ...
""",
    "attribute, by a subclass": LAYER
    + FORWARD
    + """

class LoRAConv(LoRALinear):
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A * self.scaling
""",
    "attribute, by its string": LAYER
    + FORWARD
    + """

def rescale(layer):
    return getattr(layer, "scaling", 1.0)
""",
    "attribute, by a base outside": LAYER.replace("nn.Module", "ForeignLoraLayer") + FORWARD,
    "attribute, by __getattr__": LAYER
    + FORWARD
    + """
    def __getattr__(self, name):
        return self.__dict__[name]
""",
    "attention's scale": """
def attention(q, lora_A, lora_B, lora_scale_q=None, dim_head=64):
    scale = dim_head ** -0.5
    return q + q @ lora_A.T @ lora_B.T
""",
}


def unused(source: str, folder: Path) -> list[Finding]:
    return [f for f in lint_files(folder, {"lora_layer.py": HEADER + source}) if f.code == "LS108"]


@pytest.mark.parametrize("name", UNUSED)
def test_unused(name: str, tmp_path: Path) -> None:
    (finding,) = unused(UNUSED[name], tmp_path)
    assert "never" in finding.message
    assert len(finding.trace) >= 2


@pytest.mark.parametrize("name", USED)
def test_used(name: str, tmp_path: Path) -> None:
    assert unused(USED[name], tmp_path) == []


def test_a_read_in_a_file_without_lora_words_counts(tmp_path: Path) -> None:
    run = "def run(m, x):\n    return m(x) * m.scaling\n"
    files = {"lora_layer.py": HEADER + LAYER + FORWARD, "run.py": run}
    assert [f.code for f in lint_files(tmp_path, files) if f.code == "LS108"] == []


def test_a_configuration_of_the_same_name_does_not_count(tmp_path: Path) -> None:
    files = {"lora_layer.py": HEADER + LAYER + FORWARD, "run.py": "def run(cfg):\n    return cfg.scaling\n"}
    assert [f.code for f in lint_files(tmp_path, files) if f.code == "LS108"] == ["LS108"]


def test_a_class_whose_delta_nobody_adds_here_is_medium(tmp_path: Path) -> None:
    (finding,) = unused(
        LAYER + "    def forward(self, x):\n        return x @ self.lora_A.T @ self.lora_B.T\n", tmp_path
    )
    assert finding.confidence == "medium"


def test_a_strength_is_reported_once(tmp_path: Path) -> None:
    """LS117 speaks of strengths where a trained scale is applied, LS108 where nothing is."""
    files = {"lora_layer.py": HEADER + UNUSED["strength of a merge"]}
    assert [finding.code for finding in lint_files(tmp_path, files)] == ["LS108"]


def test_a_class_beside_one_that_scales_itself_is_high(tmp_path: Path) -> None:
    returns = "    def forward(self, x):\n        return x @ self.lora_A.T @ self.lora_B.T"
    other = LAYER.replace("LoRALinear", "LoRAOther") + returns + " * self.scaling\n"
    (finding,) = unused(LAYER + returns + "\n" + other, tmp_path)
    assert finding.confidence == "high"
    assert "`LoRAOther`" in finding.trace[-1].message


REPAIRED = {
    "local of a merge": ("weight.add_(lora_B @ lora_A)", "weight.add_(lora_B @ lora_A * s)", True),
    "local that is only logged": ("lora_up(lora_down(x))", "lora_up(lora_down(x)) * scale", True),
    "local beside the element of a tuple that is used": (
        "return self.op(self.op(x, down), up)",
        "return self.op(self.op(x, down), up) * scale",
        False,
    ),
    "attribute": ("self.lora_A.T @ self.lora_B.T", "self.lora_A.T @ self.lora_B.T * self.scaling", True),
    "attribute of an embedding beside a linear layer that scales": (
        "F.embedding(x, self.lora_A.T) @ self.lora_B.T",
        "F.embedding(x, self.lora_A.T) @ self.lora_B.T * self.scaling",
        True,
    ),
    "strength of a merge": ("+= lora_B @ lora_A", "+= lora_B @ lora_A * strength", False),
    "strength that is not handed on": ("adapter[name])", "adapter[name], strength=strength)", False),
    "strength that the sibling uses": (
        "F.conv2d(F.conv2d(x, self.lora_down), self.lora_up)\n",
        "F.conv2d(F.conv2d(x, self.lora_down), self.lora_up) * multiplier\n",
        False,
    ),
}
OTHER_USES = {
    "a sum that is bound and converted": (
        """
    def forward(self, x):
        out = self.base_layer(x)
        delta = self.dropout(x) @ self.lora_A.T @ self.lora_B.T
        out = out + delta
        return out.to(x.dtype)
""",
        "out + delta\n",
        "out + delta * self.scaling\n",
    ),
    "a sum in place under a condition": (
        """
    def forward(self, x):
        result = self.base_layer(x)
        if not self.merged:
            result += (self.lora_dropout(x) @ self.lora_A.T) @ self.lora_B.T
        return result
""",
        "@ self.lora_B.T\n",
        "@ self.lora_B.T * self.scaling\n",
    ),
    "a forward and a merge": (
        """
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
""",
        "@ self.lora_",
        None,
    ),
    "torch.add": (
        """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return torch.add(self.base_layer(x), delta)
""",
        "(x), delta)",
        "(x), delta * self.scaling)",
    ),
    "a sum under a condition": (
        """
    def forward(self, x):
        delta = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return self.base_layer(x) if self.merged else self.base_layer(x).add(delta)
""",
        ".add(delta)",
        ".add(delta * self.scaling)",
    ),
    "a tuple": (
        """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return delta, None

    def add(self, x):
        return self.base_layer(x) + self.forward(x)[0]
""",
        "return delta, None",
        "return delta * self.scaling, None",
    ),
    "a product in parentheses over lines": (
        """
    def forward(self, x):
        return self.base_layer(x) + (
            x @ self.lora_A.T  # (batch, rank)
            @ self.lora_B.T
        )
""",
        "            @ self.lora_B.T\n        )\n",
        "            @ self.lora_B.T\n        ) * self.scaling\n",
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(name: str, tmp_path: Path) -> None:
    before, after, safe = REPAIRED[name]
    source = HEADER + UNUSED[name]
    found = unused(UNUSED[name], tmp_path)
    assert [item.fix and item.fix.applicability for item in found] == ["safe" if safe else "unsafe"]
    texts, left = fix_files(tmp_path, {"lora_layer.py": source}, unsafe=True)
    head, _, tail = source.rpartition(before)
    assert texts == {"lora_layer.py": head + after + tail}
    assert left == ()


@pytest.mark.parametrize("name", OTHER_USES)
def test_repaired_wherever_the_delta_leaves(name: str, tmp_path: Path) -> None:
    body, before, after = OTHER_USES[name]
    source = HEADER + LAYER + body
    texts, left = fix_files(tmp_path, {"lora_layer.py": source})
    if after is None:
        assert texts["lora_layer.py"].count(" * self.scaling\n") == 2
    else:
        head, _, tail = source.rpartition(before)
        assert texts == {"lora_layer.py": head + after + tail}
    assert left == ()


@pytest.mark.parametrize(
    "source",
    [
        # The statistic of the delta is no delta, and nobody knows what the norm is for.
        LAYER
        + """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        self.seen = delta
        return self.base_layer(x) + delta
""",
        LAYER
        + """
    def forward(self, x):
        return self.base_layer(x) + self.mix(x @ self.lora_A.T @ self.lora_B.T)
""",
        # The scale may not be bound where the delta is added.
        """
def apply_lora(x, base, lora_down, lora_up, lora_alpha, lora_rank, known):
    if known:
        scale = lora_alpha / lora_rank
    return base(x) + lora_up(lora_down(x))
""",
    ],
)
def test_not_repaired(source: str, tmp_path: Path) -> None:
    assert [item.fix for item in unused(source, tmp_path)] == [None]


def test_a_class_of_the_same_name_in_another_file_reads_its_own_field(tmp_path: Path) -> None:
    bare, scaled = HEADER + LAYER + FORWARD, HEADER + LAYER + FORWARD.replace("B.T\n", "B.T * self.scaling\n")
    found = lint_files(tmp_path, {"bare.py": bare, "scaled.py": scaled}, codes=["LS108"])
    assert [Path(item.span.filename).name for item in found] == ["bare.py"]


SESSION = """
from torch import nn


class LoraSession:
    def __init__(self, model, bank, strength=1.0):
        self.model, self.bank, self.strength = model, bank, strength

    def hook_of(self, name):
        lora_A, lora_B, alpha = self.bank[name]

        def hook(module, args, output):
            return output + {times}alpha / lora_A.shape[0] * (args[0] @ lora_A.T @ lora_B.T)

        return hook
"""


@pytest.mark.parametrize(("times", "expected"), [("", ["LS108"]), ("self.strength * ", [])])
def test_a_strength_that_is_kept_beside_the_trained_scale(
    times: str, expected: list[str], tmp_path: Path
) -> None:
    found = lint_files(tmp_path, {"session.py": SESSION.format(times=times)}, codes=["LS108"])
    assert [item.code for item in found] == expected
