"""LS311: settings and files of an adapter with an alpha that nobody trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = "import json\nimport torch\nfrom safetensors.torch import load_file, save_file\n\n"


def codes(folder: Path, source: str, name: str = "export_lora.py") -> list[str]:
    return [item.code for item in lint_files(folder, {name: HEAD + source}, codes=["LS311"])]


SETTINGS = """
def export(tensors, folder, trained):
    factors = {{name: tensors[name] for name in tensors if "lora_" in name}}
    some = next(iter(factors.values()))
{settings}
    with open(folder + "/adapter_config.json", "w") as out:
        json.dump(settings, out)
    save_file(factors, folder + "/adapter_model.safetensors")
"""


@pytest.mark.parametrize(
    "settings",
    [
        '    settings = {"peft_type": "LORA", "r": min(some.shape), "lora_alpha": 0}',
        '    settings = dict(peft_type="LORA", r=min(some.shape), lora_alpha=16)',
        '    settings = {}\n    settings["r"] = trained["r"]\n    settings["lora_alpha"] = 1.0',
        '    settings = {"peft_type": "LORA", "r": trained.rank}\n    settings.update(lora_alpha=32)',
    ],
)
def test_settings_are_found(settings: str, tmp_path: Path) -> None:
    assert codes(tmp_path, SETTINGS.format(settings=settings)) == ["LS311"]


def test_metadata_is_found(tmp_path: Path) -> None:
    source = """
def export(tensors, path, network):
    metadata = {"ss_network_module": "networks.lora", "ss_network_dim": str(network.rank),
                "ss_network_alpha": "1"}
    save_file(tensors, path, metadata=metadata)
"""
    assert codes(tmp_path, source) == ["LS311"]


CONVERTER = """
def convert(src, dst):
    old = load_file(src)
    new = {{}}
    for key in old:
        if key.endswith(".lora_A.weight"):
            name = key[: -len(".lora_A.weight")]
            new[name + ".lora_down.weight"] = old[key]
            new[name + ".lora_up.weight"] = old[name + ".lora_B.weight"]
            new[name + ".alpha"] = {alpha}
    save_file(new, dst)
"""


@pytest.mark.parametrize("alpha", ["torch.tensor(1.0)", "torch.tensor([16])", "torch.tensor(float(8))"])
def test_alpha_beside_real_factors_is_found(alpha: str, tmp_path: Path) -> None:
    assert codes(tmp_path, CONVERTER.format(alpha=alpha)) == ["LS311"]


@pytest.mark.parametrize(
    "alpha",
    [
        "torch.tensor(float(old[key].shape[0]))",
        'old[name + ".alpha"]',
        'old.get(name + ".alpha", torch.tensor(float(old[key].shape[0])))',
    ],
)
def test_alpha_of_the_file_or_the_rank_is_silent(alpha: str, tmp_path: Path) -> None:
    assert codes(tmp_path, CONVERTER.format(alpha=alpha)) == []


@pytest.mark.parametrize(
    "settings",
    [
        # both are settings of the training
        '    settings = {"peft_type": "LORA", "r": 16, "lora_alpha": 32}',
        '    settings = {"peft_type": "LORA", "r": 8 if trained else 64}\n    settings["lora_alpha"] = 16',
        '    settings = {"peft_type": "LORA", "r": min(some.shape), "lora_alpha": min(some.shape)}',
        '    settings = {"peft_type": "LORA", "r": trained["r"], "lora_alpha": trained["lora_alpha"]}',
        # alpha 16 is what the layers of this project are made with
        '    layer = LoraLayer(some, r=trained.r, lora_alpha=16)\n'
        '    settings = {"peft_type": "LORA", "r": trained.r, "lora_alpha": 16}',
        # a plot's transparency
        '    settings = {"alpha": 1, "color": "red"}',
    ],
)  # fmt: skip
def test_right_settings_are_silent(settings: str, tmp_path: Path) -> None:
    assert codes(tmp_path, SETTINGS.format(settings=settings)) == []


def test_factors_made_here_are_silent(tmp_path: Path) -> None:
    source = """
def example(path, rank):
    save_file({"x.lora_down.weight": torch.randn(rank, 8), "x.lora_up.weight": torch.randn(8, rank),
               "x.alpha": torch.tensor(4.0)}, path)
"""
    assert codes(tmp_path, source) == []


def test_tests_are_silent(tmp_path: Path) -> None:
    settings = '    settings = {"peft_type": "LORA", "r": min(some.shape), "lora_alpha": 0}'
    assert codes(tmp_path, SETTINGS.format(settings=settings), "test_lora.py") == []


WHOLE = """
from peft import LoraConfig


def export(params, layer, folder, rank):
    settings = {{"peft_type": "LORA", "r": {rank}, "lora_alpha": {alpha}}}
    with open(folder + "/adapter_config.json", "w") as out:
        json.dump(settings, out)


def again(params, layer, rank):
    return LoraConfig(r={rank}, lora_alpha={alpha})
"""


@pytest.mark.parametrize(
    ("rank", "alpha", "expected"),
    [
        ("rank", 'params["scale"]', ["high", "medium"]),
        ("layer.rank", "layer.lora_alpha / layer.rank", ["high", "high"]),
        ("rank", 'params["strength"]', ["medium", "medium"]),
        ("rank", 'params["scale"] * rank', []),
        ("rank", 'params["lora_alpha"]', []),
        ("rank", "rank", []),
        ("1", 'params["scale"]', []),
    ],
)
def test_a_whole_scale_is_no_alpha(rank: str, alpha: str, expected: list[str], tmp_path: Path) -> None:
    source = HEAD + WHOLE.format(rank=rank, alpha=alpha)
    found = lint_files(tmp_path, {"export_lora.py": source}, codes=["LS311"])
    assert [item.confidence for item in found] == expected


DUMP = """
def dump(layers, adapter):
    out = {{}}
    for name, layer in layers.items():
        out[f"{{name}}.lora_down.weight"] = layer.lora_A[adapter].weight.cpu()
        out[f"{{name}}.lora_up.weight"] = layer.lora_B[adapter].weight.cpu()
        out[f"{{name}}.alpha"] = torch.tensor({alpha})
    return out


def write(models, path):
    state = {{}}
    for layers in models:
        state.update(dump(layers, "default"))
    {last}
"""


@pytest.mark.parametrize(
    ("alpha", "last", "expected"),
    [
        ("1.0", "save_file(state, path)", ["LS311"]),
        ("layer.lora_alpha[adapter]", "save_file(state, path)", []),
        ("1.0", "return state", []),
    ],
)
def test_tables_that_a_helper_makes(alpha: str, last: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, DUMP.format(alpha=alpha, last=last)) == expected
