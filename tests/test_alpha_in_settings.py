"""LS302 where the alpha of a converter's source is one of settings that lie beside the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

CONVERTER = """
import json
import sys
from pathlib import Path

from safetensors.torch import load_file
from safetensors.numpy import save_file


def convert_tensors(source, target):
    converted = {{}}
    for key, tensor in load_file(source / "adapter_model.safetensors").items():
        if ".lora_" not in key:
            continue
        name = key.replace("base_model.model.", "").replace(".lora_A.weight", ".lora_a")
        converted[name.replace(".lora_B.weight", ".lora_b")] = tensor.numpy().T
    save_file(converted, str(target / "adapters.safetensors"))


def convert_settings(source, target):
    with open(source / "adapter_config.json") as file:
        settings = json.load(file)
    rank = settings["r"]
    alpha = settings["lora_alpha"]
    scale = alpha / rank
    with open(target / "adapter_config.json", "w") as file:
        json.dump({written}, file)
    print(rank, alpha, scale)


def convert(source, target):
    convert_tensors(source, target)
    convert_settings(source, target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
"""
SCALE = '{"fine_tune_type": "lora", "lora_parameters": {"rank": rank, "scale": scale}}'
ALPHA = '{"r": rank, "lora_alpha": alpha}'
RANK = '{"fine_tune_type": "lora", "lora_parameters": {"rank": rank}}'


@pytest.mark.parametrize("written", [SCALE, ALPHA])
def test_an_alpha_of_settings_that_goes_into_the_new_settings_is_kept(written: str, tmp_path: Path) -> None:
    source = CONVERTER.format(written=written)
    assert lint_files(tmp_path, {"peft_to_mlx.py": source}, codes=["LS302"]) == ()


def test_an_alpha_of_settings_that_is_only_shown_is_lost(tmp_path: Path) -> None:
    source = CONVERTER.format(written=RANK)
    found = lint_files(tmp_path, {"peft_to_mlx.py": source}, codes=["LS302"])
    assert [finding.code for finding in found] == ["LS302"]


TOGETHER = """
import json
import math
from collections import defaultdict

import mlx.core as mx


def convert(source, target):
    settings = json.loads((source / "adapter_config.json").read_text())
    rank, alpha = settings["r"], settings["lora_alpha"]
    scale = alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank
    pairs = defaultdict(dict)
    for key, tensor in mx.load(str(source / "adapter_model.safetensors")).items():
        module, _, side = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        pairs[module][side] = tensor
    converted = {{}}
    for module, pair in sorted(pairs.items()):
        converted[f"{{module}}.lora_a"] = pair["A"].T.astype(mx.float32)
        converted[f"{{module}}.lora_b"] = pair["B"].T.astype(mx.float32)
    mx.save_safetensors(str(target / "adapters.safetensors"), converted)
    text = json.dumps({{"lora_parameters": {{"rank": rank, {scale}}}}}, indent=4)
    (target / "adapter_config.json").write_text(text)
"""


@pytest.mark.parametrize(("scale", "count"), [('"scale": scale', 0), ('"dropout": 0.0', 1)])
def test_file_and_settings_in_one_function(scale: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"to_mlx_lora.py": TOGETHER.format(scale=scale)}, codes=["LS302"])
    assert len(found) == count
