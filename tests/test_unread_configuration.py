"""LS101, LS102: classes that load an adapter's configuration with its factors and leave its alpha unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

RUNTIME = """
import os

from peft import LoraConfig
from safetensors.torch import load_file


class LoraKernel:
    def __init__(self, path, rank=None):
        self.path, self.rank = path, rank

    def apply(self, x, out):
        return out.add_((x @ self.lora_A) @ self.lora_B)

    def post_init(self, weight_key):
        config = LoraConfig.from_pretrained(self.path)
        if not isinstance(config, LoraConfig):
            raise ValueError(self.path)
        self.rank = config.r
        tensors = load_file(os.path.join(self.path, "adapter_model.safetensors"))
        self.lora_A = tensors[f"{weight_key}.lora_A.weight"].T
        self.lora_B = tensors[f"{weight_key}.lora_B.weight"].T
"""
LOADED = "LoraConfig.from_pretrained(self.path)"
JSON = RUNTIME.replace("import os\n", "import json\nimport os\n").replace(
    "isinstance(config, LoraConfig)", "config"
)
READ = 'json.load(open(os.path.join(self.path, "adapter_config.json")))'


def codes(folder: Path, **files: str) -> list[str]:
    """Codes of all findings of two rules in a small project."""
    paths = []
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        paths.append(path)
    return [finding.code for finding in lint(paths, [], codes=["LS101", "LS102"]).findings]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (RUNTIME, "LS102"),
        (RUNTIME.replace(LOADED, "PeftConfig.from_pretrained(self.path)"), "LS102"),
        (JSON.replace(LOADED, READ).replace("config.r", 'config["r"]'), "LS102"),
        (
            JSON.replace(LOADED, READ).replace(
                "self.rank = config.r", 'self.names = config["target_modules"]'
            ),
            "LS102",
        ),
        (
            JSON.replace(LOADED, "self.read_config()").replace("config.r", 'config.get("r", 8)')
            + f"\n    def read_config(self):\n        return {READ}\n",
            "LS102",
        ),
        (
            RUNTIME.replace("apply(self, x, out)", "merge(self, layer)").replace(
                "return out.add_((x @ self.lora_A) @ self.lora_B)",
                "layer.weight.data += (self.lora_A @ self.lora_B).T",
            ),
            "LS101",
        ),
    ],
)
def test_alpha_of_a_loaded_configuration_is_unread(source: str, code: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_kernel=source) == [code]


@pytest.mark.parametrize(
    "source",
    [
        RUNTIME.replace("return out", "x = x * self.scaling\n        return out"),
        RUNTIME.replace("self.rank = config.r\n", "self.rank = config.r\n        prepare(self, config)\n"),
        RUNTIME.replace("load_file(os", "read_tensors(config, os"),
        RUNTIME + "\n\ndef ratio(config):\n    return config.lora_alpha / config.r\n",
        RUNTIME + '\n\ndef ratio(config):\n    return getattr(config, "lora_alpha", 8)\n',
        RUNTIME.replace("config = LoraConfig.from_pretrained(self.path)", "config = LoraConfig(r=8)"),
        RUNTIME.replace(".lora_A.weight", ".first").replace(".lora_B.weight", ".second"),
        RUNTIME.replace('.weight"].T\n        self.lora_B', '.weight"].T * self.gain\n        self.lora_B'),
        JSON.replace(LOADED, READ.replace("adapter_config", "kernel")).replace("config.r", 'config["r"]'),
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_kernel=source) == []


def test_another_file_that_scales_the_factors(tmp_path: Path) -> None:
    prepare = (
        "from lora_kernel import LoraKernel\n\n\ndef prepare(kernel: LoraKernel, config):\n"
        "    kernel.fold(config.lora_alpha / config.r)\n"
    )
    assert codes(tmp_path, lora_kernel=RUNTIME, lora_prepare=prepare) == []
