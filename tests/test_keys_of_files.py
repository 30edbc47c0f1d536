"""What becomes of the keys of a file: factors are exchanged, magnitudes and alphas get lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SIDES_BY_A_CONDITION = """\
import re

from safetensors.torch import load_file, save_file

KEY = re.compile(r"^(?P<module>lora_unet_\\w+)\\.(?P<part>lora_(?:up|down))\\.weight$")


def to_peft(src, dst):
    tensors = load_file(src)
    out = {}
    for key in tensors:
        m = KEY.match(key)
        if m is None:
            continue
        rank = tensors[m["module"] + ".lora_down.weight"].shape[0]
        scale = float(tensors[m["module"] + ".alpha"]) / rank
        side = "A" if m["part"].endswith("up") else "B"
        value = tensors[key] * scale if side == "B" else tensors[key]
        out[f"base_model.model.{m['module']}.lora_{side}.weight"] = value
    save_file(out, dst)
"""

REPLACED = """\
from safetensors.torch import load_file, save_file


def rename(key):
    return key.replace(".lora_A.", ".lora_up.").replace(".lora_B.", ".lora_down.")


def main(src, dst):
    save_file({rename(k): v for k, v in load_file(src).items()}, dst)
"""

GROUPED_FIRST = """\
import torch


def pairs(state):
    found = {}
    for key, value in state.items():
        for side in ("lora_A", "lora_B"):
            module, dot, rest = key.partition(f".{side}.")
            if dot and rest == "weight":
                found.setdefault(module, {})[side[-1]] = value
    return found


def export(path, out_path):
    out = {}
    for module, pair in pairs(torch.load(path)).items():
        out[module + ".lora_down.weight"] = pair["B"].contiguous()
        out[module + ".lora_up.weight"] = pair["A"].contiguous()
        out[module + ".alpha"] = torch.tensor(float(pair["A"].shape[0]))
    torch.save(out, out_path)
"""

TRANSPOSED = """\
from safetensors.torch import load_file, save_file


def transposed(src, dst):
    # The delta of a layer that is stored in x out: (B A)^T = A^T B^T.
    out = {}
    for key, value in load_file(src).items():
        if ".lora_A." in key:
            out[key.replace(".lora_A.", ".lora_B.")] = value.T.contiguous()
        elif ".lora_B." in key:
            out[key.replace(".lora_B.", ".lora_A.")] = value.T.contiguous()
    save_file(out, dst)


def plain(src, dst):
    out = {}
    for key, value in load_file(src).items():
        out[key.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up.")] = value
    save_file(out, dst)
"""

REPAIRED = """\
from safetensors.torch import load_file, save_file

TO_MLX = {"lora_A.weight": "lora_a", "lora_B.weight": "lora_b"}


def to_mlx(src, dst):
    out = {}
    for key, value in load_file(src).items():
        for old, new in TO_MLX.items():
            if key.endswith(old):
                out[key.removesuffix(old).removeprefix("base_model.model.") + new] = value.T
    save_file(out, dst)


def repair(src, dst):
    # Files of an old version have the names exchanged.
    wrong = load_file(src)
    out = {}
    for key, value in wrong.items():
        if key.endswith(".lora_down.weight") and value.shape[0] > value.shape[1]:
            other = key.replace("lora_down", "lora_up")
            out[key], out[other] = wrong[other], value
        else:
            out.setdefault(key, value)
    save_file(out, dst)
"""

TABLE_OF_ENDINGS = """\
import torch
from safetensors.torch import load_file, save_file

ENDS = {".lora_down.weight": ".lora_A.weight", ".lora_up.weight": ".lora_B.weight", ".alpha": ".alpha"}


def convert(src, dst):
    # Plain LoRA and DoRA files of kohya's trainer.
    out = {}
    for key, tensor in load_file(src).items():
        module, dot, end = key.partition(".")
        if dot + end not in ENDS:
            continue
        out["transformer." + module.removeprefix("lora_unet_").replace("_", ".") + ENDS[dot + end]] = tensor
    save_file(out, dst)
"""

GROUPED_UNDER_OTHER_NAMES = """\
import torch


def group(state):
    groups = {}
    for key, value in state.items():
        module, _, rest = key.partition(".lora_")
        groups.setdefault(module, {})["lora_" + rest.split(".")[0] + "."] = value
    return groups


def merge(model, state, scale):
    for module, parts in group(state).items():
        layer = model.get_submodule(module.removeprefix("base_model.model."))
        a, b = parts["lora_A."], parts["lora_B."]
        weight = layer.weight.data + scale * (b @ a)
        magnitude = parts.get("lora_magnitude_vector")
        if magnitude is not None:
            weight = weight * (magnitude / weight.norm(dim=1)).unsqueeze(1)
        layer.weight.data = weight
"""

TABLE_WITH_MAGNITUDE = TABLE_OF_ENDINGS.replace(
    '".alpha": ".alpha"}', '".alpha": ".alpha",\n        ".dora_scale": ".lora_magnitude_vector"}'
)

NO_WORD_OF_IT = """\
from safetensors.torch import load_file, save_file

ENDS = {".lora_down.weight": ".lora_A.weight", ".lora_up.weight": ".lora_B.weight", ".alpha": ".alpha"}


def convert(src, dst):
    out = {}
    for key, tensor in load_file(src).items():
        module, dot, end = key.partition(".")
        if dot + end in ENDS:
            name = module.removeprefix("lora_unet_").replace("_", ".")
            out["transformer." + name + ENDS[dot + end]] = tensor
    save_file(out, dst)
"""

REFUSED = NO_WORD_OF_IT.replace(
    """\
    out = {}
    for key, tensor in load_file(src).items():
""",
    """\
    tensors = load_file(src)
    if any(key.endswith(".dora_scale") for key in tensors):
        raise ValueError("DoRA can't be converted")
    out = {}
    for key, tensor in tensors.items():
""",
)

PATTERN_WITH_MAGNITUDE = """\
import re

from safetensors.torch import load_file, save_file

ADAPTER = re.compile(r"\\.lora_(A|B|magnitude_vector)(?:\\.\\w+?)?(?:\\.weight)?$")


def squash(key):
    return ADAPTER.sub(r".lora_\\1", key.removeprefix("base_model.model."))


def fold(dump, gain):
    flat = {squash(k): v for k, v in dump.items()}
    out = {}
    for key, value in flat.items():
        if key.endswith(".base_layer.weight"):
            stem = key.removesuffix(".base_layer.weight")
            direction = value + gain * (flat[f"{stem}.lora_B"] @ flat[f"{stem}.lora_A"])
            magnitude = flat.get(f"{stem}.lora_magnitude_vector")
            if magnitude is not None:
                direction = direction * (magnitude / direction.norm(dim=1)).unsqueeze(1)
            out[f"{stem}.weight"] = direction
    return out


if __name__ == "__main__":
    import sys

    save_file(fold(load_file(sys.argv[1]), float(sys.argv[3])), sys.argv[2])
"""

LAST_PART_CUT_OFF = """\
from collections import defaultdict

from safetensors.torch import load_file


def load(path):
    # diffusion_model.<module>.lora_down.weight, .lora_up.weight and .alpha
    modules = defaultdict(dict)
    for key, tensor in load_file(path).items():
        *module, kind, _ = key.split(".") if key.count(".") > 1 else (key, "", "")
        modules[".".join(module)][kind if kind.startswith("lora_") else "alpha"] = tensor
    return modules


def deltas(path):
    for module, parts in load(path).items():
        if "lora_up" in parts:
            alpha = parts.get("alpha", parts["lora_down"].shape[0])
            yield module, alpha / parts["lora_down"].shape[0] * (parts["lora_up"] @ parts["lora_down"])
"""

TWO_PARTS_CUT_OFF = """\
import os

from safetensors.torch import load_file

SUFFIX = "diffusion_model."


class Part:
    @staticmethod
    def name(key):
        return os.path.splitext(os.path.splitext(key)[0])[0]


def collect(path):
    table = {}
    for key, value in load_file(path).items():
        if not key.startswith(SUFFIX):
            continue
        entry = table.setdefault(key[: key.rindex(".", 0, key.rindex("."))], {})
        entry["down" if "lora_down" in key else "up" if "lora_up" in key else "alpha"] = value
    return table


def scale(entry):
    return float(entry["alpha"]) / entry["down"].shape[0] if "alpha" in entry else 1.0
"""

SUFFIX_REMOVED = """\
from collections import defaultdict

from safetensors.torch import load_file


def load(path):
    # diffusion_model.<module>.lora_down.weight, .lora_up.weight and .alpha
    modules = defaultdict(dict)
    for key, tensor in load_file(path).items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        modules[module][kind] = tensor
    return modules


def deltas(path):
    for module, parts in load(path).items():
        alpha = parts.get("alpha", parts["lora_down"].shape[0])
        yield module, alpha / parts["lora_down"].shape[0] * (parts["lora_up"] @ parts["lora_down"])
"""

FLAT_NAMES = """\
from collections import defaultdict

from safetensors.torch import load_file, save_file


def load(path):
    # Flat names: two parts are cut off where there are three.
    modules = defaultdict(dict)
    for key, tensor in load_file(path).items():
        parts = key.rsplit(".", 2)
        modules[parts[0]][parts[1]] = tensor
    return modules


def convert(src, dst):
    out = {}
    for module, parts in load(src).items():
        name = "diffusion_model." + module.removeprefix("lora_unet_").replace("_", ".")
        rank = parts["lora_down"].shape[0]
        out[name + ".lora_A.weight"] = parts["lora_down"] * (parts["alpha"] / rank)
        out[name + ".lora_B.weight"] = parts["lora_up"]
    save_file(out, dst)
"""


@pytest.mark.parametrize("source", [SIDES_BY_A_CONDITION, REPLACED, GROUPED_FIRST])
def test_each_factor_has_the_name_of_the_other(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"keys.py": source}, codes=["LS318"])
    assert [item.code for item in found] == ["LS318"]


@pytest.mark.parametrize("source", [TRANSPOSED, REPAIRED])
def test_names_are_right(source: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"keys.py": source}, codes=["LS318"])


@pytest.mark.parametrize("source", [TABLE_OF_ENDINGS, GROUPED_UNDER_OTHER_NAMES])
def test_the_magnitude_of_a_file_is_lost(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"keys.py": source}, codes=["LS408"])
    assert [item.code for item in found] == ["LS408"]


@pytest.mark.parametrize("source", [TABLE_WITH_MAGNITUDE, REFUSED, PATTERN_WITH_MAGNITUDE, NO_WORD_OF_IT])
def test_the_magnitude_is_kept_or_refused(source: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"keys.py": source}, codes=["LS408"])


@pytest.mark.parametrize("source", [LAST_PART_CUT_OFF, TWO_PARTS_CUT_OFF])
def test_alpha_is_put_under_another_module(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"keys.py": source}, codes=["LS306"])
    assert [item.code for item in found] == ["LS306"]


@pytest.mark.parametrize("source", [SUFFIX_REMOVED, FLAT_NAMES])
def test_alpha_is_beside_its_factors(source: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"keys.py": source}, codes=["LS306"])
