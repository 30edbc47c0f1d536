"""LS501: which values a plain multiplier may have, and which show that it is taken for alpha."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import fix_files, lint_files

DIFFSYNTH = "from diffsynth import ModelManager\nlora_path = 'x'\n"
DIFFUSERS = "from diffusers import FluxPipeline\n"


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS501 findings in one file."""
    path = folder / "use_lora.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS501"]).findings]


@pytest.mark.parametrize(
    "source",
    [
        DIFFSYNTH + "pipe.load_lora(pipe.dit, lora_path, alpha=64.0)",
        DIFFSYNTH + "manager.load_lora(lora_path, lora_alpha=32)",
        DIFFSYNTH + "ALPHA = 32\npipe.load_lora(pipe.dit, lora_path, alpha=ALPHA)",
        DIFFSYNTH + "def main(lora_rank):\n    pipe.load_lora(pipe.dit, lora_path, alpha=float(lora_rank))",
        DIFFUSERS + "def fuse(pipe, lora_rank):\n    pipe.fuse_lora(lora_scale=1.0 / lora_rank)",
        DIFFUSERS + "def use(pipe, cfg):\n    pipe.set_adapters(['a'], adapter_weights=[cfg.lora_rank])",
        DIFFUSERS
        + "def train(args):\n    config = LoraConfig(r=args.rank, lora_alpha=args.lora_alpha)\n\n\n"
        + "def test(pipe, args):\n    pipe.fuse_lora(lora_scale=args.lora_alpha)",
        "def scale(layer, lora_alpha, r):\n    from peft.tuners.lora import LoraLayer\n"
        "    old = lora_alpha / r\n    layer.scale_layer(lora_alpha)",
    ],
)
def test_fires(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source + "\n") == ["LS501"]


@pytest.mark.parametrize(
    "source",
    [
        DIFFSYNTH + "pipe.load_lora(pipe.dit, lora_path, alpha=1)",
        DIFFSYNTH + "pipe.load_lora(pipe.dit, lora_path, alpha=5)",
        DIFFSYNTH + "pipe.load_lora(pipe.dit, lora_path, alpha=1 / 32)",
        DIFFSYNTH + "def main(lora_alpha=1.0):\n    pipe.load_lora(pipe.dit, lora_path, alpha=lora_alpha)",
        DIFFSYNTH + "def main(alpha=32):\n    pipe.load_lora(pipe.dit, lora_path, alpha=alpha)",
        # the file lost its alpha: alpha / rank is the right compensation
        DIFFUSERS + "def use(pipe, lora_alpha, rank):\n    pipe.fuse_lora(lora_scale=lora_alpha / rank)",
        DIFFUSERS + "def use(pipe):\n    pipe.fuse_lora(lora_scale=8)",
        # two parameters of one name are two variables
        DIFFUSERS
        + "def train(rank, lora_alpha):\n    return LoraConfig(r=rank, lora_alpha=lora_alpha)\n\n\n"
        + "def use(pipe, lora_alpha=0.8):\n    pipe.fuse_lora(lora_scale=lora_alpha)",
        # reciprocal rank of a retrieval
        DIFFUSERS + "def use(pipe, names, ranks):\n    pipe.set_adapters(names, [1 / r for r in ranks])",
        # another library's argument may be a real alpha
        "def use(model, lora_path):\n    model.load_lora(lora_path, alpha=32)",
        # the project's own function decides what its argument means
        DIFFSYNTH + "class Pipe:\n    def load_lora(self, module, path, alpha=1):\n"
        "        self.scale = alpha / 32\n\n    def use(self):\n"
        "        self.load_lora(self.dit, 'x', alpha=32)",
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source + "\n") == []


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        (DIFFSYNTH + "pipe.load_lora(pipe.dit, lora_path, alpha=64.0)\n", "64.0", "1.0"),
        (DIFFSYNTH + "manager.load_lora(lora_path, lora_alpha=32)\n", "=32", "=1"),
        (DIFFSYNTH + "ALPHA = 32\npipe.load_lora(pipe.dit, lora_path, alpha=ALPHA)\n", "=ALPHA", "=1.0"),
        (
            DIFFUSERS + "def fuse(pipe, lora_rank):\n    pipe.fuse_lora(lora_scale=1.0 / lora_rank)\n",
            "1.0 / lora_rank",
            "1.0",
        ),
        (
            DIFFUSERS
            + "def fuse(pipe, lora_rank):\n    s = 1 / lora_rank\n    pipe.fuse_lora(lora_scale=s)\n",
            "=s",
            "=1.0",
        ),
    ],
)
def test_repaired(source: str, before: str, after: str, tmp_path: Path) -> None:
    assert fix_files(tmp_path, {"use_lora.py": source}, codes=["LS501"])[0] == {"use_lora.py": source}
    texts, left = fix_files(tmp_path, {"use_lora.py": source}, codes=["LS501"], unsafe=True)
    assert texts == {"use_lora.py": source.replace(before, after)}
    assert left == ()


def test_one_of_several_strengths_is_not_repaired(tmp_path: Path) -> None:
    source = (
        DIFFUSERS + "def use(pipe, cfg):\n    pipe.set_adapters(['a'], adapter_weights=[cfg.lora_rank])\n"
    )
    assert [item.fix for item in lint_files(tmp_path, {"use_lora.py": source}, codes=["LS501"])] == [None]


def test_the_callers_decide_what_a_parameter_is(tmp_path: Path) -> None:
    helper = (
        DIFFSYNTH
        + "def use(pipe, lora_weight):\n    pipe.load_lora(pipe.dit, lora_path, alpha=lora_weight)\n"
    )
    assert codes(tmp_path, helper + "use(make(), 32)\n") == ["LS501"]
    assert codes(tmp_path, helper + "use(make(), 32)\nuse(make(), 0.8)\n") == []


def test_a_strength_in_a_dictionary(tmp_path: Path) -> None:
    source = (
        DIFFUSERS
        + "def draw(pipe, lora_rank):\n    pipe('a dog', cross_attention_kwargs={'scale': 1 / lora_rank})\n"
    )
    found = lint_files(tmp_path, {"use_lora.py": source}, codes=["LS501"])
    assert [(item.span.start.row, item.fix) for item in found] == [(3, None)]
