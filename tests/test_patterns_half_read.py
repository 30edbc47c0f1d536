"""LS412: the ranks of single modules are looked up in a loaded configuration, their alphas are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LOADER = """
import json
import re

from safetensors.torch import load_file


def of_module(pattern, name, default):
    for key, value in pattern.items():
        if re.match(rf"(.*\\.)?{key}$", name):
            return value
    return default


def deltas(folder):
    with open(f"{folder}/adapter_config.json") as file:
        config = json.load(file)
    tensors = load_file(f"{folder}/adapter_model.safetensors")
    found = {}
    for key, down in tensors.items():
        if key.endswith(".lora_A.weight"):
            name = key.removesuffix(".lora_A.weight")
            rank = of_module(config.get("rank_pattern") or {}, name, config["r"])
            alpha = config["lora_alpha"]
            found[name] = tensors[f"{name}.lora_B.weight"] @ down * (alpha / rank)
    return found
"""


def found(folder: Path, source: str) -> list[str]:
    return [item.confidence for item in lint_files(folder, {"lora.py": source}, codes={"LS412"})]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('config.get("rank_pattern") or {}', 'config["rank_pattern"]'),
        ("json.load(file)", "json.loads(file.read())"),
        ('of_module(config.get("rank_pattern") or {}, name,', 'config["rank_pattern"].get(name,'),
    ],
)
def test_the_rank_of_a_module_and_the_alpha_of_all(old: str, new: str, tmp_path: Path) -> None:
    assert found(tmp_path, LOADER.replace(old, new)) == ["high"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('config["lora_alpha"]', 'of_module(config.get("alpha_pattern") or {}, name, config["lora_alpha"])'),
        ("    tensors =", '    if config.get("alpha_pattern"):\n        raise ValueError\n    tensors ='),
    ],
    ids=["looked up", "refused"],
)
def test_alphas_that_are_looked_up_or_refused(old: str, new: str, tmp_path: Path) -> None:
    source = LOADER.replace(old, new)
    assert source != LOADER
    assert found(tmp_path, source) == []


def test_settings_of_a_trainer_are_no_loaded_configuration(tmp_path: Path) -> None:
    source = """
    import json
    from peft import LoraConfig


    def adapter_config(settings):
        kwargs = {"r": settings.r, "lora_alpha": settings.lora_alpha, "rank_pattern": settings.rank_pattern}
        with open("adapter_config.json", "w") as file:
            json.dump(kwargs, file)
        return LoraConfig(**kwargs)
    """
    assert found(tmp_path, source) == []


APART = """
import json
from pathlib import Path


def alpha_of(key, config):
    patterns = config.get("alpha_pattern") or {{}}
    return next((alpha for name, alpha in patterns.items() if key.endswith(name)), config["lora_alpha"])


def merge(folder, state, factors):
    config = json.loads(Path(folder, "adapter_config.json").read_text())
    {message}
    for key, (lora_A, lora_B) in factors.items():
        alpha = alpha_of(key, config)
        state[key] += alpha / lora_A.shape[0] * (lora_B @ lora_A)
    return state
"""


def test_a_scale_that_is_only_told_is_that_of_all_others(tmp_path: Path) -> None:
    message = 'print("scale", config["lora_alpha"] / config["r"])'
    source = APART.format(message=message)
    assert not lint_files(tmp_path, {"lora_merge.py": source}, codes=["LS412"])
