"""LS125: merges that leave the layer as it is, which goes on adding the delta."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8.0, dropout=0.0):
        super().__init__()
        self.base = base
        self.rank = rank
        self.scaling = alpha / rank
        self.enabled = True
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        out = self.base(x)
        return out + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling


def inject(model, rank, alpha):
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            setattr(model, name, LoRALinear(child, rank, alpha))

"""
WALK = """
def merge_all(model):
    for {names} in model.named_modules():
        if isinstance(module, LoRALinear):
            delta = (module.lora_B @ module.lora_A) * module.scaling
            module.base.weight.data += delta
            {more}
    {end}
"""


def found(folder: Path, source: str, **files: str) -> list[tuple[str, str]]:
    named = {"lora_layers.py": source, **{f"{name}.py": text for name, text in files.items()}}
    return [(item.code, item.confidence) for item in lint_files(folder, named, codes=["LS125"])]


def walk(more: str = "pass", end: str = "return model") -> str:
    return LAYER + WALK.format(names="name, module", more=more, end=end)


METHOD_WALK = """
def merge_all(model):
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.merge()
            {more}
"""
METHOD = LAYER.replace(
    "\n\ndef inject",
    "\n    @torch.no_grad()\n    def merge(self):\n"
    "        self.base.weight += self.scaling * (self.lora_B @ self.lora_A)\n\n\ndef inject",
)
STAYS = {
    "nothing else": walk(),
    "gradients": walk("module.base.weight.requires_grad = True"),
    "tells": walk("print('merged', name)", "print('done')"),
    "under the type of the layer": walk().replace(
        "        return out +",
        "        if not isinstance(self.base, nn.Linear):\n            return out\n        return out +",
    ),
    "a method": METHOD + METHOD_WALK.format(more="pass"),
}
GOES = {
    "a method that nobody calls": METHOD,
    "replaced": walk("parent, _, last = name.rpartition('.')\n            setattr(model, last, module.base)"),
    "emptied": walk("module.lora_B.data.zero_()"),
    "set to nothing": walk("module.scaling = 0.0"),
    "deleted": walk("del module.lora_A"),
    "switched off": walk("module.enabled = False").replace(
        "        return out +",
        "        if not self.enabled:\n            return out\n        return out +",
    ),
    "another function replaces": walk()
    + "\n\ndef unwrap(model):\n    for name, child in model.named_children():\n"
    "        if isinstance(child, LoRALinear):\n            setattr(model, name, child.base)\n",
    "another function gives the base": walk()
    + "\n\ndef plain(module):\n    if isinstance(module, LoRALinear):\n        return module.base\n"
    "    return module\n",
    "a helper replaces": walk("put(model, name, module.base)")
    + "\n\ndef put(model, name, layer):\n    model.set_submodule(name, layer)\n",
    "only the weights are kept": walk() + "\n\ndef export(model, path):\n    merge_all(model)\n"
    "    kept = {k: v for k, v in model.state_dict().items() if 'lora' not in k}\n"
    "    torch.save(kept, path)\n",
    "taken out again": walk()
    + WALK.format(names="name, module", more="pass", end="return model")
    .replace("merge_all", "unmerge_all")
    .replace("+=", "-="),
    "a method whose caller unwraps": METHOD
    + "def merge_all(model):\n    for name, child in model.named_children():\n"
    "        if isinstance(child, LoRALinear):\n            child.merge()\n"
    "            setattr(model, name, child.base)\n",
    "a method that gives the layer": METHOD.replace(
        "self.lora_A)\n\n\ndef inject", "self.lora_A)\n        return self.base\n\n\ndef inject"
    ),
}


@pytest.mark.parametrize("source", STAYS.values(), ids=STAYS)
def test_a_merge_that_leaves_the_forward_as_it_is(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, source) == [("LS125", "medium")]


@pytest.mark.parametrize("source", GOES.values(), ids=GOES)
def test_a_merge_after_which_the_delta_is_gone(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, source) == []


def test_what_another_file_does_with_the_layers_counts(tmp_path: Path) -> None:
    user = """\
        from lora_layers import LoRALinear, merge_all


        def finish(model):
            merge_all(model)
            for name, child in model.named_children():
                if isinstance(child, LoRALinear):
                    setattr(model, name, child.base)
        """
    assert found(tmp_path, walk(), finish=user) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("pass", [("LS125", "medium")]),
        ("module.lora_B.data.zero_()", []),
        ("module.scaling = 0.0", []),
        ("module.forward = module.base.forward", []),
    ],
)
def test_a_caller_of_the_merge_may_take_the_delta_away(
    more: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert found(tmp_path, METHOD + METHOD_WALK.format(more=more)) == expected


RUN = {
    "run behind it": "def answer(model, x):\n    model = merge_all(model)\n    model.eval()\n"
    "    return model(x)\n",
    "without a new name": "def answer(model, x):\n    merge_all(model)\n    return model.generate(x)\n",
    "a loop that comes round": "def train(model, loader, save):\n    for x in loader:\n"
    "        model(x).mean().backward()\n        save(merge_all(model))\n",
}
NOT_RUN = {
    "reloaded": "def answer(model, x):\n    model = merge_all(model)\n    model = rebuild(model)\n"
    "    return model(x)\n",
    "run before": "def answer(model, x):\n    y = model(x)\n    merge_all(model)\n    return y\n",
    "another model": "def answer(model, other, x):\n    merge_all(model)\n    return other(x)\n",
}


@pytest.mark.parametrize("caller", RUN.values(), ids=RUN)
def test_a_merged_model_that_is_run_is_sure(caller: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"{walk()}\n\n{caller}") == [("LS125", "high")]


@pytest.mark.parametrize("caller", NOT_RUN.values(), ids=NOT_RUN)
def test_one_that_is_not_run_is_plausible(caller: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"{walk()}\n\n{caller}") == [("LS125", "medium")]
