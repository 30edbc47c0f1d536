"""LS227: ranks that somebody chooses, and alphas that nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

CONFIGURE = "from peft import LoraConfig\n\n\ndef train(args, extra):\n    return LoraConfig({given})\n"
WRAP = """
from peft import LoraConfig, get_peft_model


class Model:
    def __init__(self, config):
        self.wrap_lora({given})

    def wrap_lora(self, r=64, lora_alpha={default}):
        self.net = get_peft_model(self.net, LoraConfig(r=r, lora_alpha=lora_alpha))
"""
RECORD = """
from dataclasses import dataclass


@dataclass
class LoraOptions:
    target_modules: list[str] | None = None
    {fields}
"""
LOAD = "def load(path, kind):\n    sd = load_file({path})\n    return build_lora_layers(sd, {given})\n"


def found(folder: Path, source: str) -> list[str]:
    findings = lint_files(folder, {"lora_model.py": source}, codes=["LS227"])
    return [finding.confidence for finding in findings]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CONFIGURE.format(given="r=args.rank, target_modules=args.modules"), ["medium"]),
        (CONFIGURE.format(given="r=args.rank, lora_alpha=args.rank"), []),
        (CONFIGURE.format(given="r=16"), []),
        (CONFIGURE.format(given="r=args.rank, **extra"), []),
        (CONFIGURE.format(given="**{name: extra[name] for name in ('r', 'lora_dropout')}"), ["medium"]),
        (CONFIGURE.format(given="**{name: extra[name] for name in ('r', 'lora_alpha')}"), []),
        (CONFIGURE.format(given="**{name: extra[name] for name in extra}"), []),
        (CONFIGURE.format(given="*extra, r=args.rank"), []),
        (WRAP.format(given="r=config.lora_rank", default=128), ["medium"]),
        (WRAP.format(given="r=config.lora_rank, lora_alpha=config.alpha", default=128), []),
        (WRAP.format(given="r=config.lora_rank", default=None), []),
        (WRAP.format(given="", default=128), []),
        (RECORD.format(fields="r: int = 16"), ["medium"]),
        (RECORD.format(fields="r: int = 16\n    lora_alpha: int | None = None"), []),
        (RECORD.format(fields="dropout: float = 0.1"), []),
        (LOAD.format(path="path", given="alpha=16"), ["high"]),
        (LOAD.format(path="path", given="network_alpha=64.0"), ["high"]),
        (LOAD.format(path="path", given="alpha=1.0"), []),
        (LOAD.format(path="path", given="alpha=16, rank=16"), []),
        (LOAD.format(path="path", given="alpha=None"), []),
    ],
)
def test_ranks_and_alphas(source: str, expected: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, source) == expected


REBUILT = """
from torch import nn


class LoraAdapter(nn.Module):
    def __init__(self, linear, rank=4, alpha=1.0):
        super().__init__()
        self.linear, self.rank, self.alpha = linear, rank, alpha
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x)) * (self.alpha / self.rank)


def resume(model, state):
    adapters = {}
    for name, module in model.named_modules():
        down = state.get(f"{name}.lora_down.weight")
        if down is not None:
            adapter = LoraAdapter(module, down.shape[0])
            adapter.lora_down.weight.data.copy_(down)
            adapter.lora_up.weight.data.copy_(state[f"{name}.lora_up.weight"])
            adapters[name] = adapter
    return adapters
"""


def test_a_layer_that_is_made_again_for_a_factor(tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_resume.py": REBUILT})
    assert [(one.code, one.confidence) for one in found] == [("LS227", "medium")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("down.shape[0])", 'down.shape[0], float(state[f"{name}.alpha"]))'),
        (
            "            adapters[",
            '            adapter.alpha = float(state[f"{name}.alpha"])\n            adapters[',
        ),
        ("down.shape[0])", "8)"),
    ],
    ids=["given", "set after", "a new layer"],
)
def test_a_layer_that_is_made_again_with_its_alpha(old: str, new: str, tmp_path: Path) -> None:
    source = REBUILT.replace(old, new)
    assert [one.code for one in lint_files(tmp_path, {"lora_resume.py": source})] == []


@pytest.mark.parametrize(
    ("given", "confidences"),
    [("r=rank", ["high"]), ("r=rank, lora_alpha=alpha", []), ("r=rank, lora_dropout=alpha", ["medium"])],
)
def test_an_alpha_that_comes_in_and_is_not_read(given: str, confidences: list[str], tmp_path: Path) -> None:
    source = f"from peft import LoraConfig\n\n\ndef train(rank, alpha):\n    return LoraConfig({given})\n"
    assert found(tmp_path, source) == confidences
