"""LS302: a converter of a format with fused projections, in a losing, a keeping and folding versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PARSER = """\
KINDS = ("lora_down.weight", "lora_up.weight", "lora_up.blocks", "alpha_scale")
FUSED = {"qkv": ("to_q", "to_k", "to_v"), "kv": ("to_k", "to_v")}


def parse_lora_key(key):
    path = key.replace("lora___lorahyphen___", "").replace("___lorahyphen___", ".")
    for kind in ("lora_down.weight", "alpha_scale", "lora_up.weight"):
        if path.endswith("." + kind):
            return path[: -len(kind) - 1], kind
    if ".lora_up.blocks." in path:
        module, _, index = path.partition(".lora_up.blocks.")
        return module, "lora_up.blocks." + index.split(".")[0]
    raise ValueError(f"not a LoRA key: {key}")


def map_lora_module(path):
    head, _, last = path.rpartition(".")
    if last in FUSED:
        return [f"{head}.{name}" for name in FUSED[last]]
    return [path]


def group(source):
    modules = {}
    for key in source:
        try:
            path, kind = parse_lora_key(key)
        except ValueError:
            continue
        modules.setdefault(path, {})[kind] = key
    return modules


"""
LOSES = """\
def convert_lora_weights(source):
    converted = {}
    for path, keys in group(source).items():
        targets = map_lora_module(path)
        down = source[keys["lora_down.weight"]]
        for i, target in enumerate(targets):
            converted[f"{target}.lora_A"] = down
            if len(targets) == 1:
                converted[f"{target}.lora_B"] = source[keys["lora_up.weight"]]
            else:
                converted[f"{target}.lora_B"] = source[keys[f"lora_up.blocks.{i}"]]
    return converted
"""
STORE_A = '            converted[f"{target}.lora_A"] = down\n'
PASSES_ON = """\
def convert_lora_keys(source):
    converted = {}
    for key, tensor in source.items():
        key = key.replace(".lora_down.weight", ".lora_A").replace(".lora_up.weight", ".lora_B")
        converted[key.replace(".alpha_scale", ".lora_alpha")] = tensor
    return converted
"""


def with_alpha(line: str) -> str:
    """The converter that also writes, for every target, what ``line`` says."""
    return LOSES.replace(STORE_A, STORE_A + f"            {line}\n")


def with_down(line: str) -> str:
    """The converter that computes ``down`` differently."""
    return LOSES.replace('down = source[keys["lora_down.weight"]]', line)


SILENT = {
    "alpha for every target": with_alpha(
        'converted[f"{target}.lora_alpha"] = source[keys["alpha_scale"]] * down.shape[0]'
    ),
    "alpha_scale for every target": with_alpha(
        'converted[f"{target}.alpha_scale"] = source[keys["alpha_scale"]]'
    ),
    "folded into down": with_down('down = source[keys["lora_down.weight"]] * source[keys["alpha_scale"]]'),
    "folded by a local": with_down(
        'scale = source[keys["alpha_scale"]].item()\n        down = source[keys["lora_down.weight"]] * scale'
    ),
    "square roots on both": with_down(
        'root = source[keys["alpha_scale"]] ** 0.5\n        down = source[keys["lora_down.weight"]] * root'
    ).replace('source[keys["lora_up.weight"]]', 'source[keys["lora_up.weight"]] * root'),
    "every key is passed on": PASSES_ON,
}


def test_the_losing_converter_is_reported_exactly_once(tmp_path: Path) -> None:
    (found,) = lint_files(tmp_path, {"convert_lora.py": PARSER + LOSES})
    assert found.code == "LS302"
    assert found.effect is not None
    assert "2.00x too strong" in found.effect
    rows = (PARSER + LOSES).splitlines()
    assert ".lora_A" in rows[found.span.start.row - 1]
    assert any("parse_lora_key" in step.message for step in found.trace)


def test_a_key_of_which_a_part_is_known_is_shown_whole(tmp_path: Path) -> None:
    """Before Python 3.12 the parts of an f-string have no place of their own."""
    row = '        alpha = state.get(f"{stem}.alpha")\n'
    source = f"""\
def convert(state):
    out = {{}}
    for key in [key for key in state if key.endswith(".lora_down.weight")]:
        stem = key.partition(".")[0]
{row}\
        out[f"new.{{stem}}.lora_A.weight"] = state[key]
        out[f"new.{{stem}}.lora_B.weight"] = state[f"{{stem}}.lora_up.weight"]
    return out
"""
    (found,) = [item for item in lint_files(tmp_path, {"convert.py": source}) if item.code == "LS302"]
    (step,) = [step for step in found.trace if "`.alpha`" in step.message]
    assert (step.span.start.row, step.span.start.column) == (5, row.index('f"') + 1)


def test_the_parser_may_lie_in_another_file(tmp_path: Path) -> None:
    files = {
        "lora_keys.py": PARSER,
        "convert_lora.py": "from lora_keys import group, map_lora_module\n\n\n" + LOSES,
    }
    assert [item.code for item in lint_files(tmp_path, files)] == ["LS302"]


@pytest.mark.parametrize("name", sorted(SILENT))
def test_silent(name: str, tmp_path: Path) -> None:
    assert SILENT[name] not in (LOSES, "")
    assert lint_files(tmp_path, {"convert_lora.py": PARSER + SILENT[name]}) == ()


LAYER = """\
import torch


def layer_values(layer_dict, lora_alpha):
    if "lora_A.weight" in layer_dict:
        values = {{
            "lora_down.weight": layer_dict["lora_A.weight"],
            "lora_up.weight": layer_dict["lora_B.weight"],
        }}
        {alpha}
        return values
    return layer_dict


def load_lora(groups, alpha=None):
    return {{name: layer_values(group, {given}) for name, group in groups.items()}}
"""
IF_GIVEN = 'if lora_alpha is not None:\n            values["alpha"] = torch.tensor(lora_alpha)'


@pytest.mark.parametrize(
    ("alpha", "given", "count"),
    [
        (IF_GIVEN, "alpha", 1),
        (IF_GIVEN.replace("alpha is not None", "alpha"), "alpha", 1),
        (IF_GIVEN, "group.get('alpha')", 0),
        (IF_GIVEN, "alpha or 16", 0),
        ('values["alpha"] = layer_dict.get("alpha", lora_alpha)', "alpha", 0),
        ('values.update({k: v for k, v in layer_dict.items() if "lora_" not in k})', "alpha", 0),
    ],
)
def test_the_alpha_of_one_module(alpha: str, given: str, count: int, tmp_path: Path) -> None:
    """A dictionary of one module: its alpha stays behind where the caller gives none."""
    found = lint_files(tmp_path, {"lora.py": LAYER.format(alpha=alpha, given=given)}, codes=["LS302"])
    assert [item.confidence for item in found] == ["medium"] * count


@pytest.mark.parametrize("test", ["value.ndim", "value.dim() > 0", "value.ndim >= 2"])
def test_a_filter_by_dimensions_drops_alpha(test: str, tmp_path: Path) -> None:
    source = f"""
    from safetensors.torch import load_file, save_file


    def rename(path, out):
        lora = load_file(path)
        kept = {{}}
        for key, value in lora.items():
            if {test}:
                kept[key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = value.half()
        save_file(kept, out)
    """
    assert [finding.code for finding in lint_files(tmp_path, {"lora_rename.py": source})] == ["LS302"]
    right = source.replace(f"if {test}:", "if True:")
    assert lint_files(tmp_path, {"lora_rename.py": right}) == ()


OF_A_MODEL = """
import re
from safetensors.torch import load_file

BLOCK = re.compile(r"^(down|up)_blocks_(\\d+)_attentions_(\\d+)_transformer_blocks_(\\d+)_(attn[12])_(.*)$")


def convert(path):
    out = {{}}
    for key, tensor in load_file(path).items():
        name, _, suffix = key.partition(".")
        found = BLOCK.match(name.removeprefix("lora_unet_"))
        if {skipped} or found is None:
            continue
        block = f"{{found[1]}}_blocks.{{found[2]}}.attentions.{{found[3]}}.{{found[5]}}.{{found[6]}}"
        out[f"unet.{{block}}.{{suffix.replace('lora_', 'lora.')}}"] = tensor
    return out
"""


@pytest.mark.parametrize(("skipped", "count"), [('"lora_" not in suffix', 1), ('suffix == "dora_scale"', 0)])
def test_names_of_one_model_alone(skipped: str, count: int, tmp_path: Path) -> None:
    source = OF_A_MODEL.format(skipped=skipped)
    found = lint_files(tmp_path, {"convert_lora.py": source}, codes={"LS302"})
    assert [item.code for item in found] == ["LS302"] * count
