"""LS504: options, fields and parameters whose default is an alpha, given as a strength."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SYNTH = "import argparse\nfrom diffsynth import FluxPipeline\npipe = FluxPipeline.from_pretrained('x')\n"
FUSE = "import argparse\nfrom diffusers import FluxPipeline\npipe = FluxPipeline.from_pretrained('x')\n"
OPTION = "parser = argparse.ArgumentParser()\nparser.add_argument('--lora_alpha', type=float, default={})\n"
PARSED = "args = parser.parse_args()\n"
LOAD = "pipe.load_lora(pipe.dit, 'lora.safetensors', alpha=args.lora_alpha)\n"


def codes(folder: Path, files: dict[str, str]) -> list[str]:
    return [item.code for item in lint_files(folder, files, codes=["LS504"])]


@pytest.mark.parametrize(
    "source",
    [
        SYNTH + OPTION.format("32.0") + PARSED + LOAD,
        SYNTH + OPTION.format("64").replace("_alpha'", "-alpha'") + PARSED + LOAD,
        # a plain `--alpha` of 32 is no strength of DiffSynth either
        SYNTH + (OPTION.format("32") + PARSED + LOAD).replace("lora_alpha", "alpha"),
        SYNTH + OPTION.format("16") + PARSED + "x = args.lora_alpha\npipe.load_lora(pipe.dit, 'lora', x)\n",
        FUSE + OPTION.format("16") + PARSED + "pipe.fuse_lora(lora_scale=float(args.lora_alpha))\n",
        FUSE + OPTION.format("16") + PARSED + "pipe.set_adapters(['a'], adapter_weights=[args.lora_alpha])\n",
        FUSE + OPTION.format("16") + PARSED
        + "pipe('a cat', cross_attention_kwargs={'scale': args.lora_alpha})\n",
        FUSE + OPTION.format("16") + PARSED
        + "pipe('a cat', joint_attention_kwargs=dict(scale=args.lora_alpha))\n",
        # the parser is made in a helper, the strength is passed on by another
        FUSE + "def parse():\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--lora_alpha', default=32)\n    return parser.parse_args()\n\n"
        "def fuse(pipe, factor):\n    pipe.fuse_lora(lora_scale=factor)\n\n"
        "def main():\n    args = parse()\n    fuse(pipe, args.lora_alpha)\n",
        FUSE + "import click\n\n@click.command()\n@click.option('--lora-alpha', default=32.0)\n"
        "def main(lora_alpha):\n    pipe.fuse_lora(lora_scale=lora_alpha)\n",
        # click's own name for the parameter
        FUSE + "import click\n\n@click.command()\n@click.option('--la', 'lora_alpha', default=32.0)\n"
        "def main(lora_alpha):\n    pipe.fuse_lora(lora_scale=lora_alpha)\n",
        FUSE + "import typer\n\ndef main(lora_alpha: float = typer.Option(32.0)):\n"
        "    pipe.fuse_lora(lora_scale=lora_alpha)\n",
        FUSE + "def main(lora_alpha: float = 32.0):\n    pipe.fuse_lora(lora_scale=lora_alpha)\n",
        FUSE + "from dataclasses import dataclass\nimport tyro\n\n@dataclass\nclass Args:\n"
        "    lora_alpha: float = 32.0\n\nargs = tyro.cli(Args)\npipe.fuse_lora(lora_scale=args.lora_alpha)\n",
        FUSE + "from dataclasses import dataclass, field\nfrom transformers import HfArgumentParser\n\n"
        "@dataclass\nclass Args:\n    lora_alpha: float = field(default=32.0)\n\n"
        "(args,) = HfArgumentParser(Args).parse_args_into_dataclasses()\n"
        "pipe.fuse_lora(lora_scale=args.lora_alpha)\n",
    ],
)  # fmt: skip
def test_found(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, {"use_lora.py": source}) == ["LS504"]


def test_found_where_the_options_are_in_another_file(tmp_path: Path) -> None:
    options = "import argparse\n\ndef lora_options():\n    parser = argparse.ArgumentParser()\n"
    options += "    parser.add_argument('--lora_alpha', default=32)\n    return parser.parse_args()\n"
    use = "from diffusers import FluxPipeline\nfrom options import lora_options\nargs = lora_options()\n"
    use += "pipe = FluxPipeline.from_pretrained('x')\npipe.fuse_lora(lora_scale=args.lora_alpha)\n"
    assert codes(tmp_path, {"options.py": options, "use_lora.py": use}) == ["LS504"]


@pytest.mark.parametrize(
    "source",
    [
        SYNTH + OPTION.format("1.0") + PARSED + LOAD,
        SYNTH + OPTION.format("4") + PARSED + LOAD,
        SYNTH + OPTION.format("None") + PARSED + LOAD,
        # the trained scale lost by the file, given back
        SYNTH + OPTION.format("32") + PARSED + LOAD.replace("args.lora_alpha", "args.lora_alpha / 32"),
        # a slider in percent
        FUSE + OPTION.format("80").replace("alpha", "percent") + PARSED
        + "pipe.fuse_lora(lora_scale=args.lora_percent / 100)\n",
        # an option of that default that is the trainer's, in another function's parameter
        FUSE + "def train(lora_alpha=32):\n    return lora_alpha\n\n"
        "def use(pipe, lora_alpha=1.0):\n    pipe.fuse_lora(lora_scale=lora_alpha)\n",
        # two options of one name that disagree
        FUSE + OPTION.format("32") + OPTION.format("1.0") + PARSED
        + "pipe.fuse_lora(lora_scale=args.lora_alpha)\n",
        # a function of the project, or of a library that takes a real alpha
        "import argparse\n" + OPTION.format("32") + PARSED + "def load_lora(dit, path, alpha):\n    pass\n\n"
        + "load_lora(None, 'lora', alpha=args.lora_alpha)\n",
        "import argparse\nfrom mylib import pipe\n" + OPTION.format("32") + PARSED + LOAD,
    ],
)  # fmt: skip
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, {"use_lora.py": source}) == []


def test_a_value_that_is_a_real_alpha_is_left_to_the_other_rule(tmp_path: Path) -> None:
    source = FUSE + OPTION.format("16") + PARSED
    source += "config = LoraConfig(r=16, lora_alpha=args.lora_alpha)\n"
    source += "pipe.fuse_lora(lora_scale=args.lora_alpha)\n"
    found = lint_files(tmp_path, {"use_lora.py": source}, codes=["LS501", "LS504"])
    assert len(found) == 1


OWN = """
import argparse
from safetensors.torch import load_file


def merge_lora(model, path, multiplier):
    state = load_file(path)
    for name, layer in model.named_modules():
        down, up = state[f"{{name}}.lora_down.weight"], state[f"{{name}}.lora_up.weight"]
        layer.weight.data += multiplier * {trained}(up @ down)


def main(model):
    parser = argparse.ArgumentParser()
    parser.add_argument("--{option}", type=float, default={default})
    args = parser.parse_args()
    merge_lora(model, "style.safetensors", args.{option})
"""
TRAINED = 'state[f"{name}.alpha"] / down.shape[0] * '


@pytest.mark.parametrize(
    ("trained", "option", "default", "expected"),
    [
        (TRAINED, "lora_alpha", 64, ["LS504"]),
        (TRAINED, "lora_alpha", 1.0, []),
        (TRAINED, "strength", 64, []),
        ("", "lora_alpha", 64, []),
    ],
)
def test_functions_of_the_project_take_strengths_too(
    trained: str, option: str, default: float, expected: list[str], tmp_path: Path
) -> None:
    source = OWN.format(trained=trained, option=option, default=default)
    assert codes(tmp_path, {"merge_lora.py": source}) == expected


RECORD = """
from dataclasses import dataclass
import yaml
from diffusers import DiffusionPipeline


@dataclass
class Export:
    lora: str
    lora_alpha: float = {default}

    @classmethod
    def load(cls, path):
        return cls(**yaml.safe_load(open(path)))


def export(config: Export):
    pipe = DiffusionPipeline.from_pretrained("base")
    pipe.fuse_lora(lora_scale=config.lora_alpha)
"""


@pytest.mark.parametrize(("default", "expected"), [(16.0, ["LS504"]), (1.0, [])])
def test_the_field_of_a_record_by_its_default(default: float, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, {"export_lora.py": RECORD.format(default=default)}) == expected
