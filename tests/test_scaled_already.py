"""LS501 where the layers have alpha / rank already; LS314 on a project's own layers and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

CONFIG = """
from diffusers import FluxPipeline
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file


def pipeline(name, folder):
    pipe = FluxPipeline.from_pretrained(name)
    lora = LoraConfig.from_pretrained(folder)
    pipe.transformer.add_adapter(lora, adapter_name="style")
    set_peft_model_state_dict(pipe.transformer, load_file(f"{folder}/adapter_model.safetensors"), "style")
    pipe.set_adapters(["style"], adapter_weights=[lora.lora_alpha / lora.r])
    return pipe
"""

OPTIONS = """
import argparse

import torch
from diffusers import WanPipeline
from peft import LoraConfig


def main(args):
    pipe = WanPipeline.from_pretrained(args.model)
    config = LoraConfig(r=args.rank, lora_alpha=args.lora_alpha, target_modules=["to_q", "to_v"])
    pipe.transformer.add_adapter(config)
    pipe.transformer.load_state_dict(torch.load(args.weights), strict=False)
    pipe.fuse_lora(lora_scale=args.lora_alpha / args.rank)
    pipe.save_pretrained(args.out)
"""

HELPER = """
from diffusers import FluxPipeline
from peft import LoraConfig

from attach_lora import attach


def run(name, settings):
    pipe = FluxPipeline.from_pretrained(name)
    attach(pipe.transformer, settings)
    pipe.set_adapters("default", settings["lora_alpha"] / settings["rank"])
    return pipe
"""
ATTACH = """
from peft import LoraConfig, inject_adapter_in_model


def attach(transformer, settings):
    inject_adapter_in_model(LoraConfig(r=settings["rank"], lora_alpha=settings["lora_alpha"]), transformer)
"""


def found(folder: Path, files: dict[str, str], code: str) -> list[tuple[str, int]]:
    """Confidence and row of what a rule finds."""
    every = lint_files(folder, files)
    return [(finding.confidence, finding.span.start.row) for finding in every if finding.code == code]


@pytest.mark.parametrize(("source", "row"), [(CONFIG, 12), (OPTIONS, 14)], ids=["configuration", "options"])
def test_layers_that_were_made_with_alpha(source: str, row: int, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora_run.py": source}, "LS501") == [("medium", row)]


def test_a_helper_that_makes_the_layers(tmp_path: Path) -> None:
    files = {"run_lora.py": HELPER, "attach_lora.py": ATTACH}
    assert found(tmp_path, files, "LS501") == [("medium", 11)]


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        (CONFIG, "[lora.lora_alpha / lora.r]", "[1.0]"),
        (
            OPTIONS,
            "pipe.transformer.load_state_dict(torch.load(args.weights), strict=False)",
            "pipe.load_lora_weights(args.weights)",
        ),
        (OPTIONS, "lora_alpha=args.lora_alpha", "lora_alpha=args.rank"),
        (OPTIONS, "    pipe.transformer.add_adapter(config)\n", ""),
    ],
    ids=["one", "a file that lost alpha", "layers of scale 1", "no adapter is made"],
)
def test_a_ratio_that_is_right_or_none(source: str, old: str, new: str, tmp_path: Path) -> None:
    changed = source.replace(old, new)
    assert changed != source
    assert found(tmp_path, {"lora_run.py": changed}, "LS501") == []


LAYER = """
import torch
from torch import nn


class LowRankLinear(nn.Module):
    def __init__(self, linear, rank=8, alpha=8.0):
        super().__init__()
        self.linear = linear
        self.lora_a = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, linear.out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + self.scaling * self.lora_b(self.lora_a(x))


def inject(model, rank, alpha):
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            setattr(model, name, LowRankLinear(child, rank, alpha))


def fit(model, cfg, losses):
    inject(model, cfg["rank"], {alpha})
    for loss in losses(model):
        loss.backward()
    torch.save({{n: p for n, p in model.state_dict().items() if "lora_" in n}}, cfg["out"])
"""


def test_layers_of_the_project_are_known_by_their_factors(tmp_path: Path) -> None:
    assert found(tmp_path, {"low_rank.py": LAYER.format(alpha='cfg["alpha"]')}, "LS314") == [("medium", 28)]
    assert found(tmp_path, {"low_rank.py": LAYER.format(alpha='cfg["rank"]')}, "LS314") == []


SOUP = """
from peft import PeftModel


def gain_of(config):
    return {gain}


def mix(model, names, target):
    weights = [gain_of(model.peft_config[name]) for name in names]
    model.add_weighted_adapter(adapters=names, weights=weights, adapter_name=target)
"""


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        ("config.lora_alpha / config.r", ["high"]),
        ("config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)", ["high"]),
        ("1 / len(config.target_modules)", []),
    ],
)
def test_the_scale_of_the_models_own_configuration(gain: str, expected: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"mix_lora.py": SOUP.format(gain=gain)}, codes=["LS501"])
    assert [item.confidence for item in found] == expected


METADATA = """
from diffusers import FluxPipeline
from safetensors import safe_open


def trained_values(path):
    with safe_open(path, framework="pt") as file:
        meta = file.metadata() or {{}}
    return float(meta["{alpha}"]), float(meta["ss_network_dim"])


def draw(path, prompt):
    pipe = FluxPipeline.from_pretrained("base")
    pipe.load_lora_weights(path, adapter_name="style")
    alpha, dim = trained_values(path)
    pipe.set_adapters(["style"], adapter_weights=[{weight}])
    return pipe(prompt)
"""


@pytest.mark.parametrize(
    ("alpha", "weight", "expected"),
    [
        ("ss_network_alpha", "alpha / dim", ["high"]),
        ("ss_network_alpha", "0.8", []),
        ("recommended_alpha", "alpha / dim", []),
    ],
)
def test_the_scale_of_the_files_own_metadata(
    alpha: str, weight: str, expected: list[str], tmp_path: Path
) -> None:
    source = METADATA.format(alpha=alpha, weight=weight)
    found = lint_files(tmp_path, {"draw_lora.py": source}, codes=["LS501"])
    assert [item.confidence for item in found] == expected
