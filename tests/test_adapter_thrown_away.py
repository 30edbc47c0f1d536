"""LS505: what is saved as the merged model has the adapter in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = """
import torch
import peft
from diffusers import FluxPipeline
from peft import PeftModel
from transformers import AutoModelForCausalLM

"""
LOADED = """
def merge_lora(base, adapter, folder, tokenizer):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
"""
PIPE = """
def merge_lora(base, adapter, folder):
    pipe = FluxPipeline.from_pretrained(base)
    pipe.load_lora_weights(adapter)
"""


def codes(folder: Path, source: str) -> list[str]:
    return [item.code for item in lint_files(folder, {"merge_lora.py": HEAD + source}, codes=["LS505"])]


@pytest.mark.parametrize(
    "source",
    [
        LOADED + "    model = model.unload()\n    model.save_pretrained(folder)\n",
        LOADED + "    model.base_model.unload()\n    model.base_model.model.save_pretrained(folder)\n",
        PIPE + "    pipe.unload_lora_weights()\n    pipe.save_pretrained(folder)\n",
        LOADED + "    for name, layer in list(model.named_modules()):\n"
        "        if isinstance(layer, peft.tuners.lora.Linear):\n"
        "            plain = torch.nn.Linear(layer.in_features, layer.out_features)\n"
        "            model.base_model._replace_module(model, name, plain, layer)\n"
        "    model.base_model.model.save_pretrained(folder)\n",
    ],
)  # fmt: skip
def test_found(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS505"]


@pytest.mark.parametrize(
    "source",
    [
        LOADED + "    model = model.merge_and_unload()\n    model.save_pretrained(folder)\n",
        LOADED + "    model.merge_adapter()\n    model = model.unload()\n    model.save_pretrained(folder)\n",
        PIPE + "    pipe.fuse_lora(lora_scale=0.7)\n    pipe.unload_lora_weights()\n"
        "    pipe.save_pretrained(folder)\n",
        LOADED + "    model = model.unload()\n    tokenizer.save_pretrained(folder)\n",
        # the adapter itself is saved, then taken off
        LOADED + "    model.save_pretrained(folder)\n    model = model.unload()\n",
        # used, and taken off
        PIPE + "    image = pipe('a cat')\n    pipe.unload_lora_weights()\n    image.save(folder)\n",
        # layer by layer
        LOADED + "    for name, layer in list(model.named_modules()):\n        layer.merge()\n"
        "        model.base_model._replace_module(model, name, layer.base_layer, layer)\n"
        "    model.base_model.model.save_pretrained(folder)\n",
    ],
)  # fmt: skip
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []
