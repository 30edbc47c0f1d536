"""LS409 and LS206: an option that decides the scale is declared, and what builds the adapter has it not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

PARSER = """
import argparse

from peft import LoraConfig, get_peft_model


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora_rank", type=int, default=16)
    parser.add_argument("--lora_alpha", type=int, default=32)
    parser.add_argument("--use_rslora", action="store_true")
    return parser.parse_args()


def adapted(model):
    args = options()
    return get_peft_model(model, LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha))
"""

RECORD = {
    "settings.py": """
    from pydantic import BaseModel


    class LoraSettings(BaseModel):
        rank: int = 8
        alpha: float = 16.0
        rank_stabilized: bool = False
    """,
    "build.py": """
    from peft import LoraConfig

    from settings import LoraSettings


    def lora_config(settings: LoraSettings):
        return LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear")
    """,
}

UNSLOTH = """
import click
from dataclasses import dataclass
from unsloth import FastLanguageModel


@dataclass
class Recipe:
    lora_r: int = 16
    lora_alpha: int = 16
    use_rslora: bool = True


def lora_model(model, recipe: Recipe):
    return FastLanguageModel.get_peft_model(model, r=recipe.lora_r, lora_alpha=recipe.lora_alpha)
"""

ALPHA = PARSER.replace(", lora_alpha=args.lora_alpha", "").replace(
    '    parser.add_argument("--use_rslora", action="store_true")\n', ""
)
LITERAL = ALPHA.replace("r=args.lora_rank", "r=args.lora_rank, lora_alpha=16")


def found(folder: Path, files: dict[str, str]) -> list[tuple[str, str, str]]:
    """Code, confidence and file of what the two rules find."""
    return [
        (finding.code, finding.confidence, Path(finding.span.filename).name)
        for finding in lint_files(folder, files)
        if finding.code in ("LS206", "LS409")
    ]


@pytest.mark.parametrize("source", [PARSER, UNSLOTH], ids=["parser", "unsloth"])
def test_the_flag_reaches_what_builds_the_adapter(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora_train.py": source}) == [("LS409", "medium", "lora_train.py")]


def test_a_field_of_settings_in_another_file(tmp_path: Path) -> None:
    assert found(tmp_path, RECORD) == [("LS409", "medium", "build.py")]


@pytest.mark.parametrize("source", [ALPHA, LITERAL], ids=["left", "a literal"])
def test_alpha_reaches_what_builds_the_adapter(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora_train.py": source}) == [("LS206", "high", "lora_train.py")]


@pytest.mark.parametrize(
    "given", ["", ", lora_alpha=args.lora_rank", ", lora_alpha=2 * args.lora_rank", ", lora_alpha=16"]
)
def test_the_option_is_given_in_the_place_of_what_was(given: str, tmp_path: Path) -> None:
    files = {"lora_train.py": ALPHA.replace("r=args.lora_rank", f"r=args.lora_rank{given}")}
    assert (
        "r=args.lora_rank, lora_alpha=args.lora_alpha"
        in fix_files(tmp_path, files, unsafe=True)[0]["lora_train.py"]
    )


OWN = """
from dataclasses import dataclass

from torch import nn


@dataclass
class Recipe:
    rank: int = 16
    alpha: float = 32.0


class LowRank(nn.Module):
    def __init__(self, base, rank, alpha=1.0):
        super().__init__()
        self.base = base
        self.alpha = alpha
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.scale = self.alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale


def wrapped(layer, recipe: Recipe):
    print(f"rank {recipe.rank}, alpha {recipe.alpha}")
    return LowRank(layer, recipe.rank)
"""


def test_a_layer_of_the_project_gets_the_rank_of_settings_alone(tmp_path: Path) -> None:
    assert found(tmp_path, {"lora.py": OWN}) == [("LS206", "high", "lora.py")]
    assert (
        "LowRank(layer, recipe.rank, alpha=recipe.alpha)"
        in fix_files(tmp_path, {"lora.py": OWN}, unsafe=True)[0]["lora.py"]
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LowRank(layer, recipe.rank)", "LowRank(layer, recipe.rank, recipe.alpha)"),
        (
            "return LowRank(layer, recipe.rank)",
            "new = LowRank(layer, recipe.rank)\n    set_alpha(new, recipe.alpha)\n    return new",
        ),
        ("LowRank(layer, recipe.rank)", "LowRank(layer, layer.rank)"),
        ("    alpha: float = 32.0\n", ""),
        ("    print(", "    layer.options.update(vars(recipe))\n    print("),
    ],
    ids=["given", "set later", "another rank", "no option", "read as a whole"],
)
def test_a_layer_that_gets_alpha_or_cannot(old: str, new: str, tmp_path: Path) -> None:
    source = OWN.replace(old, new).replace(
        ", alpha {recipe.alpha}" if old.startswith("    alpha") else "\0", ""
    )
    assert source != OWN
    assert found(tmp_path, {"lora.py": source}) == []


def test_a_default_taken_from_a_field_is_no_use(tmp_path: Path) -> None:
    source = PARSER.replace("def options():", "def options(base):").replace("options()\n", "options(BASE)\n")
    source = source.replace('"--use_rslora", action', '"--use_rslora", default=base.use_rslora, action')
    assert found(tmp_path, {"lora_train.py": source}) == [("LS409", "medium", "lora_train.py")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lora_alpha=args.lora_alpha", "lora_alpha=args.lora_alpha, use_rslora=args.use_rslora"),
        ("lora_alpha=args.lora_alpha", "lora_alpha=args.lora_alpha, **more(args)"),
        ("LoraConfig(r", "build(**vars(args)) or LoraConfig(r"),
        ("    args = options()", "    args = options()\n    if args.use_rslora:\n        raise SystemExit"),
        ("r=args.lora_rank, lora_alpha=args.lora_alpha", "r=8, lora_alpha=16"),
        ("    args = options()", "    args = options()\n    refuse(getattr(args, 'use_rslora', False))"),
    ],
    ids=["given", "more", "spread", "refused", "another rank", "getattr"],
)
def test_a_flag_that_is_read_or_handed_on(old: str, new: str, tmp_path: Path) -> None:
    source = PARSER.replace(old, new)
    assert source != PARSER
    assert found(tmp_path, {"lora_train.py": source}) == []


def test_the_parameter_of_a_command_is_read_by_its_name(tmp_path: Path) -> None:
    source = """
    import click
    from peft import LoraConfig


    @click.command()
    @click.option("--lora-rank", default=8)
    @click.option("--use-rslora", is_flag=True)
    def train(lora_rank, use_rslora):
        return LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, use_rslora=use_rslora)
    """
    assert found(tmp_path, {"lora_train.py": source}) == []


def test_a_flag_of_a_settings_file_that_is_only_told(tmp_path: Path) -> None:
    source = """
    import yaml
    from peft import LoraConfig, get_peft_model


    def build(path, model, log):
        with open(path) as file:
            lora = yaml.safe_load(file)["lora"]
        log.info("r=%d, rslora=%s", lora["r"], lora.get("use_rslora", False))
        return get_peft_model(model, LoraConfig(r=lora["r"], lora_alpha=lora["alpha"]))
    """
    assert found(tmp_path, {"lora_build.py": source}) == [("LS409", "medium", "lora_build.py")]
    right = source.replace(
        'lora_alpha=lora["alpha"]', 'lora_alpha=lora["alpha"], use_rslora=lora["use_rslora"]'
    )
    assert found(tmp_path, {"lora_build.py": right}) == []
