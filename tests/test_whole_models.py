"""LS507, LS508, LS509: adapters that are put on whole models of diffusers and peft."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = """from diffusers import FluxPipeline
from peft import PeftModel

pipe = FluxPipeline.from_pretrained('x')

"""
SWAP = "class App:\n    def swap(self, path):\n        self.pipe.unload_lora_weights()\n"
FUSE = "    pipe.load_lora_weights(path)\n    pipe.fuse_lora()\n"
TAKE = "    state = model.state_dict()\n"
UNDO = "    model.unmerge_adapter()\n"


def codes(folder: Path, source: str, *wanted: str) -> list[tuple[str, str]]:
    found = lint_files(folder, {"lora_app.py": HEAD + source}, codes=list(wanted))
    return [(item.code, item.confidence) for item in found]


@pytest.mark.parametrize(
    "call",
    [
        "pipe.load_lora_weights(path, weight_name='a.safetensors', scale=0.7)",
        "pipe.load_lora_weights(path, adapter_name='a', lora_scale=strength)",
        "pipe.load_lora_weights(path, alpha=strength)",
        "pipe.load_lora_weights(path, cross_attention_kwargs={'scale': strength})",
        "pipe.transformer.load_lora_adapter(path, prefix=None, lora_weight=strength)",
    ],
)
def test_a_loader_swallows_the_strength(tmp_path: Path, call: str):
    source = f"def put(path, strength):\n    {call}\n"
    assert codes(tmp_path, source, "LS507") == [("LS507", "high")]


@pytest.mark.parametrize(
    "body",
    [
        "pipe.load_lora_weights(path, adapter_name='a')",
        "pipe.load_lora_weights(path, lora_scale=1.0)",
        "pipe.load_lora_weights(path, lora_scale=strength)\n    pipe.fuse_lora(lora_scale=strength)",
        "pipe.load_lora_weights(path, lora_scale=strength)\n"
        "    return pipe('x', cross_attention_kwargs={'scale': strength})",
        "pipe.transformer.load_lora_adapter(path, network_alphas=strength)",
        "load_lora_weights(path, lora_scale=strength)",
    ],
)
def test_options_that_a_loader_has_and_strengths_that_act_elsewhere(tmp_path: Path, body: str):
    assert codes(tmp_path, f"def put(path, strength):\n    {body}\n", "LS507") == []


def test_a_loader_of_the_projects_own_has_the_options_that_it_has(tmp_path: Path):
    source = (
        "class OwnPipeline:\n    def load_lora_weights(self, path, lora_scale=1.0):\n"
        "        self.strength = lora_scale\n\n\n"
        "def put(app, path, strength):\n    app.load_lora_weights(path, lora_scale=strength)\n"
    )
    assert codes(tmp_path, source, "LS507") == []


def test_a_strength_that_another_function_sets_is_plausible_only(tmp_path: Path):
    source = (
        "def put(path, strength):\n    pipe.load_lora_weights(path, lora_scale=strength)\n\n\n"
        "def set_strength(strength):\n    pipe.set_adapters('a', adapter_weights=strength)\n"
    )
    assert codes(tmp_path, source, "LS507") == [("LS507", "medium")]


LOADS = "self.pipe.load_lora_weights(path)\n        self.pipe.fuse_lora()\n"


@pytest.mark.parametrize(
    ("source", "confidence"),
    [
        (
            f"{SWAP}        {LOADS}",
            "high",
        ),
        (
            f"class App:\n    def add_lora(self, path):\n        {LOADS}\n"
            "    def unapply_lora(self):\n        self.pipe.unload_lora_weights()\n",
            "",
        ),
        (
            f"class App:\n    def load_lora(self, path):\n        {LOADS}\n"
            "    def unload_lora(self):\n        self.pipe.unload_lora_weights()\n",
            "high",
        ),
        (
            f"def image(path):\n{FUSE}    found = pipe('x')\n"
            "    pipe.unload_lora_weights()\n    return found\n",
            "high",
        ),
        (
            "def image(pipe, path):\n    pipe.load_lora_weights(path)\n    pipe.fuse_lora()\n"
            "    found = pipe('x')\n    pipe.unload_lora_weights()\n    return found\n",
            "medium",
        ),
    ],
)
def test_a_fused_delta_stays(tmp_path: Path, source: str, confidence: str):
    assert codes(tmp_path, source, "LS508") == ([("LS508", confidence)] if confidence else [])


@pytest.mark.parametrize(
    "source",
    [
        "def load(path):\n    pipe.load_lora_weights(path)\n    pipe.fuse_lora()\n"
        "    pipe.unload_lora_weights()\n    return pipe('x')\n",
        "def image(path):\n    own = FluxPipeline.from_pretrained('x')\n    own.load_lora_weights(path)\n"
        "    own.fuse_lora()\n    found = own('x')\n    own.unload_lora_weights()\n    return found\n",
        "class App:\n    def swap(self, path):\n        self.pipe.unfuse_lora()\n"
        f"        self.pipe.unload_lora_weights()\n        {LOADS}",
        f"class App:\n    def swap(self, path):\n        self.other.unload_lora_weights()\n        {LOADS}",
    ],
)
def test_a_fused_delta_that_is_meant_to_stay_or_is_taken_out(tmp_path: Path, source: str):
    assert codes(tmp_path, source, "LS508") == []


SYNC = "def sync_lora(model, save):\n    model.merge_adapter()\n{}"


@pytest.mark.parametrize(
    "body",
    [
        "    state = model.state_dict()\n    model.unmerge_adapter()\n    save(state)\n",
        "    state = {k: v.data for k, v in model.named_parameters()}\n" + UNDO + "    save(state)\n",
        "    state = model.state_dict()\n    mine = {k: v for k, v in state.items() if 'lora' not in k}\n"
        "    model.unmerge_adapter()\n    for key in mine:\n        save(mine[key])\n",
    ],
)
def test_the_tensors_are_those_of_the_model(tmp_path: Path, body: str):
    assert codes(tmp_path, SYNC.format(body), "LS509") == [("LS509", "high")]


@pytest.mark.parametrize(
    "body",
    [
        "    state = model.state_dict()\n    save(state)\n    model.unmerge_adapter()\n",
        "    state = {k: v.clone() for k, v in model.state_dict().items()}\n    model.unmerge_adapter()\n"
        "    save(state)\n",
        "    state = model.state_dict()\n    state = {k: v.cpu() for k, v in state.items()}\n"
        "    model.unmerge_adapter()\n    save(state)\n",
        "    state = model.state_dict()\n    save(state)\n    model.unmerge_adapter()\n"
        "    state = model.state_dict()\n    save(state)\n",
        TAKE + "    save(state)\n" + UNDO + "    print(len(state))\n",
        "    model.unmerge_adapter()\n    state = model.state_dict()\n    save(state)\n",
    ],
)
def test_tensors_that_are_copied_or_used_in_time(tmp_path: Path, body: str):
    assert codes(tmp_path, SYNC.format(body), "LS509") == []
