"""LS302 over the ways in which converters rename the factors of an adapter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

FIRING = {
    "a chain of replace, alpha skipped": """from safetensors.torch import load_file, save_file

def convert(src, dst):
    out = {}
    for key, value in load_file(src).items():
        if key.endswith(".alpha"):
            continue
        new = key.replace("lora_unet_", "blocks.").replace("lora_down", "lora_A").replace("lora_up", "lora_B")
        out[new] = value
    save_file(out, dst)
""",
    "alpha popped and thrown away": """def convert_kohya_to_diffusers(sd):
    out = {}
    for name in sorted({k.split(".")[0] for k in sd}):
        sd.pop(name + ".alpha", None)
        out[f"{name}.lora_A.weight"] = sd.pop(f"{name}.lora_down.weight")
        out[f"{name}.lora_B.weight"] = sd.pop(f"{name}.lora_up.weight")
    return out
""",
    "a table of suffixes": """
RENAME = {".lora_down.weight": ".lora_A.weight", ".lora_up.weight": ".lora_B.weight"}

def convert(lora_sd):
    converted = {}
    for key, tensor in lora_sd.items():
        if "alpha" in key:
            continue
        for old, new in RENAME.items():
            if key.endswith(old):
                converted["base_model.model." + key[: -len(old)] + new] = tensor
    return converted
""",
    "a comprehension with a condition": """def to_peft(sd):
    return {
        k.replace(".lora_down.", ".lora_A.").replace(".lora_up.", ".lora_B."): v
        for k, v in sd.items()
        if not k.endswith(".alpha")
    }
""",
    "keys renamed in place, alpha deleted": """def convert(sd):
    for key in list(sd.keys()):
        if ".alpha" in key:
            del sd[key]
            continue
        new = key.replace("lora_down.weight", "lora_A.weight").replace("lora_up.weight", "lora_B.weight")
        sd[new] = sd.pop(key)
    return sd
""",
    "kohya factors looked up, nothing else": """from safetensors.torch import load_file, save_file

def kohya_to_peft(path, out):
    kohya = load_file(path)
    result = {}
    for key in kohya:
        if not key.endswith(".lora_down.weight"):
            continue
        base = key[: -len(".lora_down.weight")]
        result[f"base_model.model.{base}.lora_A.weight"] = kohya[key]
        result[f"base_model.model.{base}.lora_B.weight"] = kohya[base + ".lora_up.weight"]
    save_file(result, out)
""",
}

CHAIN = FIRING["a chain of replace, alpha skipped"]
LOOKED_UP = FIRING["kohya factors looked up, nothing else"]
FILTER = FIRING["a comprehension with a condition"]
SILENT = {
    "every key renamed, alpha too": CHAIN.replace(
        'if key.endswith(".alpha"):\n            continue', "print(key)"
    ),
    "alpha renamed on its own": CHAIN.replace(
        "continue", 'out[key.replace(".alpha", ".lora_alpha")] = value'
    ),
    "alpha gathered for the caller": CHAIN.replace("continue", "alphas[key] = value.item()"),
    "alpha folded into a factor": LOOKED_UP.replace(
        "= kohya[key]", '= kohya[key] * (kohya[base + ".alpha"] / kohya[key].shape[0])'
    ),
    "alpha in the configuration of the new format": LOOKED_UP.replace(
        "save_file(result, out)", 'save_file(result, out, {"lora_alpha": str(kohya[base + ".alpha"])})'
    ),
    "a caller that reads the alphas": FILTER
    + """
def load(sd):
    alphas = {k: v for k, v in sd.items() if k.endswith(".alpha")}
    return to_peft(sd), alphas
""",
    "factors scaled by what is not seen": LOOKED_UP.replace(
        "= kohya[key]", "= kohya[key] * ratio_of(kohya, base)"
    ),
    "everything else copied as it is": LOOKED_UP.replace(
        "            continue", "            result[key] = kohya[key]\n            continue"
    ),
    "names without an alpha": LOOKED_UP.replace("lora_down", "lora_a").replace("lora_up", "lora_b"),
    "alpha keys left out of a base model": """
def strip(sd):
    kept = {k: v for k, v in sd.items() if not k.endswith(".alpha")}
    return {k: v for k, v in kept.items() if "lora_A" not in k and "lora_B" not in k}
""",
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"convert.py": FIRING[name]})]
    assert found.count("LS302") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert "LS302" not in [finding.code for finding in lint_files(tmp_path, {"convert.py": SILENT[name]})]


def test_many_moves_inside_one_dictionary_are_bounded(tmp_path: Path) -> None:
    moves = "".join(
        f'    sd["block.{n}.lora_A.weight"] = sd.pop("block_{n}.lora_down.weight")\n'
        f'    sd[name.replace("x", "{n}")] = sd.pop(name + "{n}")\n'
        for n in range(120)
    )
    source = f"def convert_lora(sd, name):\n{moves}    return sd\n"
    assert lint_files(tmp_path, {"convert.py": source}) is not None


def test_alpha_is_folded_into_the_factor_that_is_looked_up(tmp_path: Path) -> None:
    texts, left = fix_files(tmp_path, {"lora_convert.py": LOOKED_UP})
    folded = """        rank = kohya[key].shape[0]
        scale = float(kohya.get(key.split(".lora_")[0] + ".alpha", rank)) / rank
        result[f"base_model.model.{base}.lora_A.weight"] = kohya[key] * scale
"""
    before = '        result[f"base_model.model.{base}.lora_A.weight"] = kohya[key]\n'
    assert texts == {"lora_convert.py": LOOKED_UP.replace(before, folded)}
    assert left == ()


def test_alpha_is_folded_into_one_factor_of_a_loop(tmp_path: Path) -> None:
    source = FIRING["a table of suffixes"]
    texts, left = fix_files(tmp_path, {"lora_convert.py": source})
    before = '                converted["base_model.model." + key[: -len(old)] + new] = tensor\n'
    folded = """                scale = 1.0
                if "lora_down" in key:
                    rank = tensor.shape[0]
                    scale = float(lora_sd.get(key.split(".lora_down")[0] + ".alpha", rank)) / rank
                converted["base_model.model." + key[: -len(old)] + new] = tensor * scale
"""
    assert texts == {"lora_convert.py": source.replace(before, folded)}
    assert left == ()


@pytest.mark.parametrize(
    "name",
    [
        "alpha popped and thrown away",
        "keys renamed in place, alpha deleted",
        "a comprehension with a condition",
        "a chain of replace, alpha skipped",  # the file's dictionary has no name
    ],
)
def test_what_has_lost_its_alpha_is_not_repaired(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_convert.py": FIRING[name]}, codes=["LS302"])
    assert [item.fix for item in found] == [None]
