"""LS401 and LS412: whoever takes a configuration's alpha looks at all that decides the scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

CONTRACT = ("LS401", "LS412")

NUMPY = """
from math import sqrt

import numpy as np
from peft import PeftConfig
from safetensors.numpy import load_file


def products(folder):
    adapter = PeftConfig.from_pretrained(folder)
    tensors = load_file(folder + "/adapter_model.safetensors")
    made = {}
    for name in tensors:
        if ".lora_A." in name:
            down, up = tensors[name], tensors[name.replace(".lora_A.", ".lora_B.")]
            divisor = sqrt(adapter.r) if adapter.use_rslora else adapter.r
            made[name.partition(".lora_A.")[0]] = np.matmul(up, down) * (adapter.lora_alpha / divisor)
    return made
"""

LAYERS = """
from peft.tuners import lora


def put(block, name, peft_config, state):
    assert peft_config["peft_type"] == "LORA"
    for _, parent in block.named_modules():
        for child_name, child in parent.named_children():
            if isinstance(child, lora.Linear) and child_name in peft_config["target_modules"]:
                child.update_layer(
                    name, peft_config["r"], peft_config["lora_alpha"], use_rslora=peft_config["use_rslora"]
                )
                for key, value in state.items():
                    if child_name in key and key.endswith(".lora_A.weight"):
                        child.lora_A[name].weight.data.copy_(value)
                    if child_name in key and key.endswith(".lora_B.weight"):
                        child.lora_B[name].weight.data.copy_(value)
"""

HELPER = """
import json
import os

from safetensors.torch import load_file

from arithmetic import factor


def lora_deltas(folder):
    with open(os.path.join(folder, "adapter_config.json")) as file:
        settings = json.load(file)
    lora = load_file(os.path.join(folder, "adapter_model.safetensors"))
    scale = factor(settings["lora_alpha"], settings["r"], settings.get("use_rslora"))
    for key in lora:
        if key.endswith("lora_A.weight"):
            yield key, scale * (lora[key.replace("lora_A", "lora_B")] @ lora[key])
"""

ARITHMETIC = """
def factor(lora_alpha, rank, root):
    return lora_alpha / rank**0.5 if root else lora_alpha / rank
"""

KOHYA = """
import json
import os

import torch
from safetensors.torch import load_file, save_file


def to_kohya(folder, target):
    with open(os.path.join(folder, "adapter_config.json")) as file:
        adapter = json.load(file)
    result = {}
    for key, value in load_file(os.path.join(folder, "adapter_model.safetensors")).items():
        stem, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
        name = "lora_unet_" + stem.replace(".", "_")
        if side == "A.weight":
            result[f"{name}.lora_down.weight"] = value
            result[f"{name}.alpha"] = torch.tensor(float(adapter["lora_alpha"]))
        else:
            result[f"{name}.lora_up.weight"] = value
    save_file(result, target)
"""

GGUF = """
import gguf
import json
from safetensors.numpy import load_file


def write(folder, target, log):
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("alpha_pattern") or config.get("rank_pattern"):
        raise NotImplementedError("patterns")
    log.info("rsLoRA: %s", config.get("use_rslora"))
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for key, value in load_file(folder / "adapter_model.safetensors").items():
        writer.add_tensor(key.replace("lora_A.weight", "weight.lora_a"), value)
"""


def found(folder: Path, files: dict[str, str]) -> list[tuple[str, str, str]]:
    """Code, confidence and file of what the two rules find."""
    return [
        (finding.code, finding.confidence, Path(finding.span.filename).name)
        for finding in lint_files(folder, files)
        if finding.code in CONTRACT
    ]


@pytest.mark.parametrize("source", [NUMPY, LAYERS], ids=["quotient", "layer of peft"])
def test_patterns_are_looked_at(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora.py": source}) == [("LS412", "medium", "lora.py")]


def test_patterns_are_looked_at_where_a_helper_divides(tmp_path: Path) -> None:
    files = {"lora_deltas.py": HELPER, "arithmetic.py": ARITHMETIC}
    assert found(tmp_path, files) == [("LS412", "medium", "lora_deltas.py")]


@pytest.mark.parametrize("source", [NUMPY, LAYERS, HELPER], ids=["quotient", "layer of peft", "helper"])
def test_patterns_that_are_refused_elsewhere_are_known(source: str, tmp_path: Path) -> None:
    check = """
    def refuse(lora_config):
        for part in ("alpha_pattern", "rank_pattern"):
            if lora_config.get(part):
                raise ValueError(part)
    """.replace('"alpha_pattern", "rank_pattern"', '"rank_pattern", "alpha_pattern"')
    files = {"lora.py": source, "arithmetic.py": ARITHMETIC, "lora_check.py": check}
    assert found(tmp_path, files) == []


@pytest.mark.parametrize("source", [KOHYA, GGUF], ids=["keys", "a flag that is only told"])
def test_an_alpha_that_is_written_into_a_file_knows_rslora(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora.py": source}) == [("LS401", "medium", "lora.py")]


@pytest.mark.parametrize(
    "heeded",
    [
        'if config["use_rslora"]:\n        raise NotImplementedError',
        'if config.get("use_rslora"):\n        log.warning("rsLoRA is not supported")',
        'assert not config.get("use_rslora")',
        'for part in ("use_rslora", "lora_bias"):\n        if config.get(part):\n            exit(part)',
        'if config.get("use_rslora"):\n        config["lora_alpha"] *= config["r"] ** 0.5',
    ],
    ids=["raise", "not supported", "assert", "loop", "folded"],
)
def test_a_flag_that_does_something_is_heeded(heeded: str, tmp_path: Path) -> None:
    source = GGUF.replace('log.info("rsLoRA: %s", config.get("use_rslora"))', heeded)
    assert source != GGUF
    assert found(tmp_path, {"lora.py": source}) == []


def test_alpha_of_another_configuration_is_no_adapters(tmp_path: Path) -> None:
    source = KOHYA.replace("adapter_config.json", "training.json")
    assert found(tmp_path, {"lora.py": source}) == []


OWN = """
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file


def adapted(model, options):
    return get_peft_model(model, LoraConfig(r=options.rank, lora_alpha=options.alpha, {part}))


def export_lora(model, path):
    config = model.peft_config["default"]
    result = {{}}
    for key, value in get_peft_model_state_dict(model).items():
        result[key] = value
        if key.endswith("lora_A.weight"):
            result[key.replace("lora_A.weight", "alpha")] = torch.tensor(float({alpha}))
    save_file(result, path)
"""
RAW = "config.lora_alpha"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("alpha_pattern=options.alphas", "LS412"),
        ("use_rslora=options.stabilized", "LS402"),
        ("bias='none'", None),
    ],
    ids=["patterns", "rsLoRA", "neither"],
)
def test_an_exporter_of_a_model_of_the_project(part: str, code: str | None, tmp_path: Path) -> None:
    every = lint_files(tmp_path, {"lora_export.py": OWN.format(part=part, alpha=RAW)})
    wanted = [finding.code for finding in every if finding.code in ("LS401", "LS402", "LS412")]
    assert wanted == ([code] if code else [])


def test_an_exporter_that_looks_the_parts_up(tmp_path: Path) -> None:
    patterns = OWN.format(
        part="alpha_pattern=options.alphas", alpha="config.alpha_pattern.get(key, config.lora_alpha)"
    )
    flag = OWN.format(
        part="use_rslora=options.stabilized",
        alpha="config.lora_alpha * (config.r**0.5 if config.use_rslora else 1)",
    )
    for name, source in (("patterns.py", patterns), ("flag.py", flag)):
        every = lint_files(tmp_path, {name: source})
        assert [finding.code for finding in every if finding.code in ("LS401", "LS402", "LS412")] == []
