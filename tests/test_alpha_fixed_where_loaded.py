"""LS315: a literal alpha where factors are loaded that were trained with a chosen one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = "import torch\nfrom peft import LoraConfig, get_peft_model, set_peft_model_state_dict\n"
TRAIN = (
    HEAD
    + """
def main(args, model):
    model = get_peft_model(model, LoraConfig(r=args.lora_rank, lora_alpha={alpha}))
    optimizer = torch.optim.AdamW(model.parameters())
    loss(model).backward()
    torch.save(model.state_dict(), args.out)
"""
)
INFER = (
    HEAD
    + """
def main(path, model):
    model = get_peft_model(model, LoraConfig(r={r}, lora_alpha={alpha}))
    {load}
    return model
"""
)
LOAD = "model.load_state_dict(torch.load(path), strict=False)"


def rows(folder: Path, alpha: str = "args.lora_alpha", **parts: str) -> list[tuple[str, int]]:
    infer = INFER.format(**{"r": "16", "alpha": "32", "load": LOAD, **parts})
    files = {"train.py": TRAIN.format(alpha=alpha), "infer.py": infer}
    found = lint_files(folder, files, codes=["LS315"])
    assert all(item.confidence == "medium" for item in found)
    return [(Path(item.span.filename).name, item.span.start.row) for item in found]


@pytest.mark.parametrize(
    "load",
    [
        LOAD,
        "set_peft_model_state_dict(model, torch.load(path))",
        "state = torch.load(path)\n    missing, extra = model.load_state_dict(state, strict=False)",
        LOAD + "\n    torch.save(model.merge_and_unload().state_dict(), path)",
        "load_weights(model, path)\n    return model\n\ndef load_weights(model, path):\n    " + LOAD,
    ],
)
def test_found(load: str, tmp_path: Path) -> None:
    assert rows(tmp_path, load=load) == [("infer.py", 5)]


@pytest.mark.parametrize(
    "parts",
    [
        {"alpha": "args.alpha", "r": "args.rank"},
        {"load": "model.eval()"},
        # loaded first: the base model
        {"load": "pass", "r": "16), model.load_state_dict(torch.load(path)), print(1"},
        # what it has saved itself, to check it
        {"load": "torch.save(model.state_dict(), path)\n    " + LOAD},
        # goes on training with its own alpha
        {"load": LOAD + "\n    torch.optim.AdamW(model.parameters())"},
    ],
)
def test_silent(parts: dict[str, str], tmp_path: Path) -> None:
    assert rows(tmp_path, **parts) == []


def test_silent_where_the_training_has_the_literal_too(tmp_path: Path) -> None:
    assert rows(tmp_path, alpha="32") == []


def test_two_scripts_that_share_a_loader_are_both_found(tmp_path: Path) -> None:
    shared = HEAD + "def make_lora(model, r, alpha):\n    return model\n\n"
    shared += "def load_lora(model, path):\n    model.load_state_dict(torch.load(path), strict=False)\n"
    script = "from shared import make_lora, load_lora\n\ndef main(path, model):\n"
    script += "    make_lora(model, r=16, alpha=16)\n    load_lora(model, path)\n"
    train = TRAIN.format(alpha="args.lora_alpha")
    files = {"shared.py": shared, "one.py": script, "two.py": script, "train.py": train}
    found = lint_files(tmp_path, files, codes=["LS315"])
    assert [Path(item.span.filename).name for item in found] == ["one.py", "two.py"]


MLX = """\
import mlx.core as mx
from mlx.utils import tree_unflatten

from lora import LoRALinear


def add_layers(model, config):
    for name, module in model.named_modules():
        layer = LoRALinear.from_linear(module, r=config["rank"], alpha=config["alpha"])
        model.update_modules(tree_unflatten([(name, layer)]))


def load_adapters(model, path{parameter}):
    adapters = mx.load(path)
    for name, module in model.named_modules():
        if name + ".lora_a" in adapters:
            layer = LoRALinear.from_linear(module{given})
            model.update_modules(tree_unflatten([(name, layer)]))
    model.update(tree_unflatten(list(adapters.items())))
"""


@pytest.mark.parametrize(
    ("given", "count"),
    [("", 1), (", r=config['rank'], alpha=config['alpha']", 0), (", r=8, alpha=16", 0)],
)
def test_layers_with_the_constructors_own_alpha(given: str, count: int, tmp_path: Path) -> None:
    source = MLX.format(given=given, parameter=", config" if "config" in given else "")
    assert len(lint_files(tmp_path, {"lora_utils.py": source}, codes=["LS315"])) == count


TOOL = """
import torch
from toolkit.layers import Dense


def main(model, path, out):
    state = torch.load(path)
    for name, child in model.named_children():
        if name in state:
            setattr(model, name, Dense(child.in_features, child.out_features, r=1, {alpha}=1))
    model.load_state_dict(state, strict=False)
    torch.save(model.eval().state_dict(), out)
"""


@pytest.mark.parametrize(("alpha", "expected"), [("lora_alpha", [10]), ("alpha", [])])
def test_layers_whose_class_is_called_otherwise(alpha: str, expected: list[int], tmp_path: Path) -> None:
    files = {"train.py": TRAIN.format(alpha="args.lora_alpha"), "merge_lora.py": TOOL.format(alpha=alpha)}
    found = lint_files(tmp_path, files, codes=["LS315"])
    assert [item.span.start.row for item in found] == expected
