"""Numbers that are 1 as far as was seen, biases and sums of deltas: what is no missing scale, and what is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        {kept}
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + {factor}(x @ self.lora_a.T @ self.lora_b.T)
"""
MERGED = """
    def merged_weight(self):
        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)


def merge(layers):
    for layer in layers:
        layer.base.weight = layer.merged_weight()


def build(model):
    return [LoRALinear(child, rank=16, alpha=16.0) for child in model.children()]
"""


@pytest.mark.parametrize(
    ("kept", "factor", "count"), [("self.alpha = 1.0", "self.alpha * ", 0), ("self.alpha = alpha", "", 1)]
)
def test_a_multiplier_called_alpha_is_used(kept: str, factor: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": LAYER.format(kept=kept, factor=factor)}, codes=["LS102"])
    assert len(found) == count


@pytest.mark.parametrize(("factor", "some"), [("self.scale * ", False), ("", True)])
def test_a_caller_makes_the_scale_one(factor: str, some: bool, tmp_path: Path) -> None:
    source = LAYER.format(kept="self.scale = alpha / rank", factor=factor) + MERGED
    found = lint_files(tmp_path, {"lora.py": source})
    assert bool(found) == some
    assert {item.code for item in found} <= {"LS102", "LS112", "LS119"}


BIASED = """\
import torch
from torch import nn


class LoRAUpdate(nn.Module):
    def __init__(self, width, rank, alpha):
        super().__init__()
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(rank, width))
        self.lora_B = nn.Parameter(torch.zeros(width, rank))
        self.lora_bias = nn.Parameter(torch.zeros(width))

    def init_from(self, bias_diff=None):
        if bias_diff is not None:
            self.lora_bias.copy_(bias_diff)

    def forward(self, x):
        update = x @ self.lora_A.T @ self.lora_B.T
        if self.lora_bias is not None:
            update = update + self.lora_bias
        return update * self.scaling


class Shared(nn.Module):
    def __init__(self, shared, width, rank):
        super().__init__()
        self.shared = shared
        self.task_lora = LoRAUpdate(width, rank, 32)

    def forward(self, x):
        return self.shared(x) + self.task_lora(x)
"""


def test_a_bias_of_the_adapter_is_no_base(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": BIASED}) == ()


WITH_BASE = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.lora_bias = nn.Parameter(torch.zeros(base.out_features))

    def merge(self):
        self.base.weight.data += self.scaling * (self.lora_B @ self.lora_A)

    def forward(self, x):
        update = x @ self.lora_A.T @ self.lora_B.T + self.lora_bias
        return self.base(x) + update{scaled}
"""


@pytest.mark.parametrize(("scaled", "found"), [(" * self.scaling", []), ("", ["LS102"])])
def test_with_a_bias_a_delta_without_its_scale_is_found(
    scaled: str, found: list[str], tmp_path: Path
) -> None:
    result = lint_files(tmp_path, {"lora.py": WITH_BASE.format(scaled=scaled)}, codes=["LS102"])
    assert [item.code for item in result] == found


TWO = """\
from torch import nn


class RelaxedLoRA(nn.Module):
    def __init__(self, base, rank, network_alpha=None):
        super().__init__()
        self.base = base
        self.network_alpha = network_alpha
        self.rank = rank
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.down_frozen = nn.Linear(base.in_features, 1, bias=False)
        self.up_frozen = nn.Linear(1, base.out_features, bias=False)

    def fuse(self):
        scale = self.network_alpha / self.rank
        self.base.weight.data += scale * (self.up.weight @ self.down.weight)

    def forward(self, x):
        frozen = self.up_frozen(self.down_frozen(x))
        trained = self.up(self.down(x))
        both = frozen + trained
        {scaled}
        return both
"""


@pytest.mark.parametrize(
    ("scaled", "count"),
    [
        ("if self.network_alpha is not None:\n            both *= self.network_alpha / (self.rank + 1)", 0),
        ("", 1),
    ],
)
def test_two_deltas_are_scaled_together(scaled: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": TWO.format(scaled=scaled)}, codes=["LS102"])
    assert len(found) == count


STRENGTH = """\
class PatchedProjection:
    def __init__(self, linear, lora_scale=1, network_alpha=None, rank=4):
        self.linear = linear
        self.lora_layer = LoRALinearLayer(8, 8, network_alpha=network_alpha, rank=rank)
        self.lora_scale = lora_scale

    def fuse(self, lora_scale=1.0):
        w_up = self.lora_layer.up.weight.data.float()
        w_down = self.lora_layer.down.weight.data.float()
        if self.lora_layer.network_alpha is not None:
            w_up = w_up * self.lora_layer.network_alpha / self.lora_layer.rank
        self.linear.weight.data += lora_scale * (w_up @ w_down)
        self.w_up, self.w_down = w_up.cpu(), w_down.cpu()
        self.lora_scale = lora_scale

    def forward(self, x):
        if self.lora_scale is None:
            self.lora_scale = 1.0
        return self.linear(x)

    def unfuse(self):
        self.linear.weight.data -= self.lora_scale * (self.w_up @ self.w_down)


class LoRALinearLayer(nn.Module):
    def __init__(self, in_features, out_features, rank=4, network_alpha=None):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        self.network_alpha = network_alpha
        self.rank = rank
"""


def test_a_strength_that_takes_the_place_of_none(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": STRENGTH}, codes=["LS124"]) == ()


COUNTED = """\
import re
import sys

from safetensors import safe_open

path = sys.argv[1]


def skeleton(key):
    return re.sub(r"\\.\\d+\\.", ".N.", key)


with safe_open(path, framework="pt") as f:
    keys = list(f.keys())

skeletons = {}
for k in keys:
    s = skeleton(k)
    skeletons.setdefault(s, []).append(k)
"""


def test_key_names_that_are_counted(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_keys.py": COUNTED}, codes=["LS306"]) == ()


def test_a_sure_finding_does_not_give_way_to_a_plausible_one(tmp_path: Path) -> None:
    source = """\
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file


def train(model, args, fit):
    model = get_peft_model(model, LoraConfig(r=args.rank, lora_alpha=args.lora_alpha))
    fit(model)
    save_file(get_peft_model_state_dict(model), args.out)
"""
    found = lint_files(tmp_path, {"train_lora.py": source})
    assert [item.code for item in found if item.confidence == "high"] in ([], ["LS314"])


SHARED = """
    def merged_weight(self, share=0.5):
        return self.base.weight + {share}(self.lora_b @ self.lora_a)


def build(model):
    return [LoRALinear(child, rank=16, alpha=32.0) for child in model.children()]


def merge(layers):
    for layer in layers:
        layer.base.weight = layer.merged_weight()
"""


@pytest.mark.parametrize(
    ("share", "some"), [("share * self.scale * ", False), ("self.scale * share * ", False), ("", True)]
)
def test_a_share_that_makes_the_scale_one(share: str, some: bool, tmp_path: Path) -> None:
    layer = LAYER.format(kept="self.scale = alpha / rank", factor="self.scale * ")
    found = lint_files(tmp_path, {"lora.py": layer + SHARED.format(share=share)})
    assert {item.code for item in found} <= {"LS101", "LS102", "LS112", "LS119"}
    assert bool(found) == some
