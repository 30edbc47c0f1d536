"""LS306 where the alpha's key is cut from a factor's: which cuts fit every spelling that comes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LOADER = """
def load_adapter(state_dict, modules):
    alphas = {{key: value for key, value in state_dict.items() if "alpha" in key}}
    for key, value in state_dict.items():
        down = up = None
        position = key.rfind(".lora_")
        ending = key[position + 1 :]
        if ending in ("lora_A.weight", "lora_down.weight"):
            down = value
        elif ending in ("lora_B.weight", "lora_up.weight"):
            up = value
        else:
            continue
        {look_up}
        modules[key[:position]].add(down, up, alpha)
"""

ENDSWITH = """
def load_adapter(state_dict, modules):
    for key in list(state_dict):
        if not key.endswith((".lora_A.weight", ".lora_down.weight")):
            continue
        {look_up}
        rank = state_dict[key].shape[0]
        modules[key].scale = (rank if alpha is None else alpha) / rank
"""

FIRING = {
    "the length of a placeholder": LOADER.format(
        look_up='alpha = alphas.get(key[: -len("lora_X.weight")] + "alpha", 1.0)'
    ),
    "a number": LOADER.format(look_up='alpha = alphas.get(key[:-14] + ".alpha")'),
    "a name for the module": LOADER.format(
        look_up='name = key[:-16]\n        alpha = alphas.get(f"{name}alpha")'
    ),
    "a test beforehand": LOADER.format(
        look_up='name = key[:-13] + "alpha"\n        alpha = alphas[name] if name in alphas else 1.0'
    ),
    "endswith": ENDSWITH.format(look_up='alpha = state_dict.get(key[:-14] + ".alpha")'),
    "removesuffix": ENDSWITH.format(
        look_up='alpha = state_dict.get(key.removesuffix(".lora_A.weight") + ".alpha")'
    ),
}

SILENT = {
    "the length that was found": LOADER.format(
        look_up='alpha = alphas.get(key[: -len(ending)] + "alpha", 1.0)'
    ),
    "the place of the ending": LOADER.format(look_up='alpha = alphas.get(key[: position + 1] + "alpha")'),
    "a miss is an error": LOADER.format(look_up='alpha = alphas[key[:-13] + "alpha"]'),
    "one spelling": ENDSWITH.replace(', ".lora_down.weight"', "").format(
        look_up='alpha = state_dict.get(key[:-14] + ".alpha")'
    ),
    "a cut for each spelling": ENDSWITH.format(
        look_up='if "lora_down" in key:\n            alpha = state_dict.get(key[:-17] + ".alpha")\n'
        '        else:\n            alpha = state_dict.get(key[:-14] + ".alpha")'
    ),
    "half of a pair": LOADER.replace('"lora_A.weight", ', "")
    .replace('"lora_B.weight", ', "")
    .format(look_up='alpha = alphas.get(key[:-16] + "alpha")'),
    "both renamed before": LOADER.replace(
        "        down = up = None\n",
        '        key = key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")\n'
        "        down = up = None\n",
    )
    .replace(', "lora_down.weight"', "")
    .replace(', "lora_up.weight"', "")
    .format(look_up='alpha = alphas.get(key[:-13] + "alpha")'),
}


@pytest.mark.parametrize("name", FIRING)
def test_fires(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"lora_loader.py": FIRING[name]})]
    assert found.count("LS306") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"lora_loader.py": SILENT[name]})]
    assert "LS306" not in found


CUTS = {
    "the length of a placeholder": ('key[: -len("lora_X.weight")]', 'key[: key.rindex("lora_")]'),
    "a number": ("key[:-14]", "key[: key.rindex('.lora_')]"),
    "a name for the module": ("key[:-16]", "key[: key.rindex('lora_')]"),
    "removesuffix": ("", ""),
}


@pytest.mark.parametrize("name", CUTS)
def test_the_key_is_cut_where_its_suffix_begins(name: str, tmp_path: Path) -> None:
    source = FIRING[name]
    texts, left = fix_files(tmp_path, {"lora.py": source}, unsafe=True)
    old, new = CUTS[name]
    assert texts["lora.py"] == (source.replace(old, new) if old else source)
    assert [finding.code for finding in left if finding.code == "LS306"] == ([] if old else ["LS306"])


def test_the_tensors_of_one_module_have_nothing_cut_off(tmp_path: Path) -> None:
    source = """
class LoHALayer:
    @classmethod
    def from_state_dict(cls, values):
        alpha = values.get("alpha", None)
        return cls(values["hada_w1_a"], values["hada_w1_b"], values["hada_w2_a"], values["hada_w2_b"], alpha)


class LoRALayer:
    @classmethod
    def from_state_dict(cls, values):
        alpha = values.get("alpha")
        return cls(values["lora_up.weight"], values["lora_down.weight"], alpha)
"""
    assert lint_files(tmp_path, {"lora_layers.py": source}) == ()


def test_the_groups_of_a_converter_have_parts_as_keys(tmp_path: Path) -> None:
    source = """
from safetensors.torch import load_file, save_file

def convert_lora(source, target):
    modules = {}
    for key, tensor in load_file(source).items():
        name, part = key.split(".", 1)
        if part == "alpha":
            modules.setdefault(name, {})["alpha"] = tensor
        elif "lora_down" in part:
            modules.setdefault(name, {})["down"] = tensor
        elif "lora_up" in part:
            modules.setdefault(name, {})["up"] = tensor
    out = {}
    for name, module in modules.items():
        alpha = int(module["alpha"].item()) if "alpha" in module else module["down"].shape[0]
        scale = scale_of(alpha, module["down"].shape[0])
        out[name + ".lora_A.weight"], out[name + ".lora_B.weight"] = module["down"] * scale, module["up"]
    save_file(out, target)

def scale_of(alpha: int, rank: int):
    return int(alpha) / rank
"""
    found = lint_files(tmp_path, {"convert_lora.py": source})
    assert [item.code for item in found] == ["LS204"]  # int() of a tensor of the file
    assert found[0].span.start.row == 16


RENAMED = """
def convert(lora_sd):
    renamed = {{}}
    for key, weight in lora_sd.items():
        body = key.split(".", 1)[1].replace(".", "_")
        key = f"lora_unet_{{body}}".replace("_lora_A_", ".lora_down.").replace("_lora_B_", ".lora_up.")
        renamed[key] = weight
    return merge(renamed, {{}})


def merge(lora_sd, weights):
    for key in [k for k in lora_sd if "{filtered}" in k]:
        down, up = lora_sd[key], lora_sd[key.replace("lora_down", "lora_up").replace("lora_A", "lora_B")]
        alpha = lora_sd.get(key[: {length}] + "alpha", down.shape[0])
        weights[key] = weights[key] + (up @ down) * (alpha / down.shape[0])
    return weights
"""


def test_a_cut_that_fits_the_new_names_of_a_renaming_is_right(tmp_path: Path) -> None:
    source = RENAMED.format(filtered="lora_down", length='key.index("lora_down")')
    assert not [item for item in lint_files(tmp_path, {"new.py": source}) if "cut from" in item.message]
    source = RENAMED.format(filtered="lora_", length='-len("lora_down.weight")')
    source = source.replace("return merge(renamed, {})", "return merge(lora_sd, {})")
    assert [item for item in lint_files(tmp_path, {"old.py": source}) if "cut from" in item.message]
