"""LS114 on strengths that are multiplied onto every tensor of an adapter file."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.engine import lint
from tests.projects import lint_files


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS114 in one file."""
    path = folder / "lora_nodes.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS114"]).findings]


COMBINE = """
class CombineLoras:
    def combine(self, lora1, lora2, strength1, strength2):
        merged = {{}}
        for key in set(lora1.keys()) | set(lora2.keys()):
            {body}
        return merged
"""
LOAD = """
import comfy.utils


def scale_lora(lora_name, strength):
    tensors = comfy.utils.load_torch_file(lora_name)
    {body}
    return tensors
"""

PREFIXES = """
def set_lora(model, checkpoint, lora_weight=0.7):
    for name, processor in model.attn_processors.items():
        lora_state_dict = {}
        for key in checkpoint.keys():
            if name in key:
                lora_state_dict[key[len(name) + 1:]] = checkpoint[key] * lora_weight
        processor.load_state_dict(lora_state_dict)
"""
WEIGHTED = """
from safetensors import safe_open

def add_loras(path1, path2, alpha_1: float = 0.5, alpha_2: float = 0.5):
    first = safe_open(path1, framework="pt", device="cpu")
    second = safe_open(path2, framework="pt", device="cpu")
    merged = {}
    for key in set(list(first.keys()) + list(second.keys())):
        if key.startswith("lora_unet") or key.startswith("lora_te"):
            merged[key] = alpha_1 * first.get_tensor(key) + alpha_2 * second.get_tensor(key)
    return merged
"""
FOLDED = """
from safetensors.torch import load_file

def to_peft(path):
    sd = load_file(path)
    rank = sd["lora_unet_q.lora_down.weight"].shape[0]
    scale = sd["lora_unet_q.alpha"].item() / rank
    out = {}
    for key, value in sd.items():
        if key.endswith(".alpha"):
            continue
        out[key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = value * scale
    return out
"""
FOLDED_SCRIPT = """
from safetensors.torch import load_file, save_file

sd = load_file("lora.safetensors")
alpha = None
for key in ["lora_unet_q.alpha", "lora_unet_k.alpha"]:
    if key in sd:
        alpha = float(sd[key])
        break
rank = sd["lora_unet_q.lora_down.weight"].shape[0]
scale = alpha / rank
out = {}
for key, value in sd.items():
    if not key.endswith(".alpha"):
        out[key.replace("lora_unet_", "unet.")] = value * scale
save_file(out, "out.safetensors")
"""
PAIR = """
def add_lora(layers, loras, alpha: float = 1.0, beta: float = 1.0):
    for layer in layers:
        up = loras.pop(0)
        down = loras.pop(0)
        {body}
"""


@pytest.mark.parametrize(
    "source",
    [
        COMBINE.format(
            body="one = lora1.get(key, torch.zeros_like(lora2[key]) if key in lora2 else None)\n"
            "            two = lora2.get(key, torch.zeros_like(lora1[key]) if key in lora1 else None)\n"
            "            if one is not None and two is not None:\n"
            "                merged[key] = strength1 * one + strength2 * two"
        ),
        COMBINE.format(body="merged[key] = lora1[key] * strength1 + lora2[key] * strength2"),
        COMBINE.format(
            body="if key in lora1:\n                merged[key] = lora1[key].float() * strength1\n"
            "            if key in lora2:\n"
            "                merged[key] = merged.get(key, 0) + lora2[key] * strength2"
        ),
        LOAD.format(body="for key in tensors:\n        tensors[key] = tensors[key] * strength"),
        LOAD.format(body="for key in list(tensors.keys()):\n        tensors[key] *= strength"),
        LOAD.format(body="tensors = {key: value * strength for key, value in tensors.items()}"),
        LOAD.format(
            body="for value in tensors.values():\n        pass\n"
            "    for key, value in tensors.items():\n        value.mul_(strength)"
        ),
        LOAD.format(
            body="for key, value in tensors.items():\n        tensors[key] = torch.mul(value, strength)"
        ),
        LOAD.format(
            body='for key in tensors:\n        if key.endswith(".alpha"):\n            continue\n'
            "        tensors[key] = tensors[key].float() * strength"
        ),
        COMBINE.format(
            body='name = key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")\n'
            "            merged[name] = lora1[key].mul(strength1)"
        ),
        COMBINE.format(body="merged[key] = torch.add(lora1[key], lora2[key], alpha=strength2)"),
        COMBINE.format(body="merged[key] = lora1[key] * strength1 + lora2[key]"),
        PREFIXES,
        WEIGHTED,
        FOLDED,
        FOLDED_SCRIPT,
    ],
)
def test_every_entry_gets_the_strength(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS114"]


@pytest.mark.parametrize(
    "source",
    [
        LOAD.format(
            body='for key in tensors:\n        if "lora_up" in key:\n'
            "            tensors[key] = tensors[key] * strength"
        ),
        LOAD.format(body='tensors = {k: v * strength if ".lora_B." in k else v for k, v in tensors.items()}'),
        LOAD.format(body="tensors = {k: v * strength if is_up(k) else v for k, v in tensors.items()}"),
        LOAD.format(body="tensors = {k: v * strength for k, v in merge(tensors).items()}"),
        COMBINE.format(body="merged[key] = lora1[key] * 0.5 + lora2[key] * 0.5"),
        COMBINE.replace("lora1", "lora_deltas1").format(body="merged[key] = lora_deltas1[key] * strength1"),
        COMBINE.format(body="merged[key] = lora1[key] * strength1 * self.mask(key)"),
        COMBINE.format(body="merged[key] = torch.lerp(lora1[key], lora2[key], strength1)"),
        COMBINE.format(body="merged[key] = lora1[key] * (1 - strength1) + lora2[key] * strength1"),
        COMBINE.format(body="merged[key] = lora1[key] * math.sqrt(strength1)"),
        COMBINE.format(
            body='if key.endswith(".diff"):\n                merged[key] = lora1[key] * strength1'
        ),
        COMBINE.format(body="if self.suffix in key:\n                merged[key] = lora1[key] * strength1"),
        COMBINE.format(body="if key in self.up_keys:\n                merged[key] = lora1[key] * strength1"),
        LOAD.format(
            body='for key in [k for k in tensors if "lora_up" in k]:\n'
            "        tensors[key] = tensors[key] * strength"
        ),
        LOAD.format(
            body='for key in tensors:\n        if "alpha" in key:\n            tensors[key] *= strength'
        ),
        LOAD.format(
            body="for key in tensors:\n        if tensors[key].ndim == 1:\n"
            "            tensors[key] *= strength"
        ),
        PREFIXES.replace("=0.7", ""),
        PREFIXES.replace("name in key", "self.suffix in key"),
        PREFIXES + "\n\ndef load(model, lora, weight):\n    set_lora(model, lora, weight ** 0.5)\n",
        WEIGHTED.replace("alpha_2 *", "(1 - alpha_1) *"),
        WEIGHTED.replace("lora_unet", "unet").replace("lora_te", "te").replace("add_loras", "average"),
        WEIGHTED + "\n\ndef mix(a, b, ratio):\n    return add_loras(a, b, ratio, 1 - ratio)\n",
        FOLDED.replace(
            "        if key", '        if "lora_up" not in key:\n            continue\n        if key'
        ),
        FOLDED.replace("value * scale", "value * scale ** 0.5"),
        "def apply(ori_sd, lora_sd, scale=1.0, strength=1.0):\n    for key, value in lora_sd.items():\n"
        "        ori_sd[key] += strength * value\n    return ori_sd\n",
        "class LoraLayer:\n    def scale_layer(self, scale: float):\n        for name in self.active:\n"
        "            self.scaling[name] *= scale\n",
        "class Packed:\n    def optimize_lora(self, strength):\n        for i in range(len(self.lora_b)):\n"
        "            self.lora_b[i] *= strength\n",
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []


@pytest.mark.parametrize(
    "body",
    [
        "layer.lora_up.weight = Parameter(up * alpha + layer.lora_up.weight * beta)\n"
        "        layer.lora_down.weight = Parameter(down * alpha + layer.lora_down.weight * beta)",
        "layer.lora_A.weight.data = down * alpha\n        layer.lora_B.weight.data = up * alpha",
        'layer["lora_down"] = down.to("cpu") * alpha\n        layer["lora_up"] = alpha * up.float()',
        'layer["x.lora_A.weight"] = down.mul(alpha)\n        layer["x.lora_B.weight"] = up.mul(alpha)',
        "layer.lora_up.weight.data *= alpha\n        layer.lora_down.weight.data *= alpha",
        "ratio = 1.0 if layer.is_dora else alpha\n"
        "        layer.lora_down.weight.data = (down * ratio).detach()\n"
        "        layer.lora_up.weight.data = (up * ratio).detach()",
        "ratio = alpha if layer.active else 1\n"
        '        layer["lora_down"], layer["lora_up"] = down * ratio, ratio * up',
    ],
)
def test_both_factors_of_a_pair_get_the_number(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, PAIR.format(body=body)) == ["LS114"]


@pytest.mark.parametrize(
    "body",
    [
        "layer.lora_up.weight = Parameter(up * alpha)\n        layer.lora_down.weight = Parameter(down)",
        "layer.lora_up.weight = up * alpha\n        layer.lora_down.weight = down * beta",
        "layer.lora_up.weight = up * (alpha if layer.up_first else 1.0)\n"
        "        layer.lora_down.weight = down * (1.0 if layer.up_first else alpha)",
        "layer.lora_up.weight = up * (alpha if layer.scale_up else 1)\n"
        "        layer.lora_down.weight = down * (alpha if not layer.scale_up else 1)",
        "ratio = alpha if layer.active else layer.own\n"
        "        layer.lora_up.weight = up * ratio\n        layer.lora_down.weight = down",
        "layer.lora_up.weight = up * alpha ** 0.5\n        layer.lora_down.weight = down * alpha ** 0.5",
        "if layer.first:\n            layer.lora_up.weight = up * alpha\n        else:\n"
        "            layer.lora_down.weight = down * alpha",
        "layer.lora_up.weight = up * alpha + layer.lora_up.weight * (1 - alpha)\n"
        "        layer.lora_down.weight = down * alpha + layer.lora_down.weight * (1 - alpha)",
    ],
)
def test_one_factor_or_a_root_is_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, PAIR.format(body=body)) == []


HANDED_ON = """
class Pipeline:
    def set_lora(self, checkpoint, lora_weight: int = 0.7):
        self.update_with_lora(checkpoint, lora_weight)

    def update_with_lora(self, checkpoint, lora_weight):
        for name, processor in self.model.processors.items():
            state = {}
            for key in checkpoint.keys():
                if name in key:
                    state[key[len(name) + 1:]] = checkpoint[key] * lora_weight
            processor.load_state_dict(state)
"""


def test_a_number_by_the_default_of_who_hands_it_on(tmp_path: Path) -> None:
    assert codes(tmp_path, HANDED_ON) == ["LS114"]


def test_numbers_of_each_adapter_are_no_file(tmp_path: Path) -> None:
    source = """
class LoraSettings:
    def __init__(self, configs):
        self.alpha = {k: v["lora_alpha"] for k, v in configs.items()}
        self.factor = {k: v["scale_multiplier"] for k, v in configs.items()}
        self.rank = {k: v["r"] for k, v in configs.items()}
        self.scaling = {k: self.factor[k] * self.alpha[k] / self.rank[k] for k in configs}
"""
    assert codes(tmp_path, source) == []


EVERY_TENSOR = """
    import torch
    from safetensors.torch import load_file

    def load_lora(path, strength):
        loaded = load_file(path)
        scaled = {{}}
        for key, value in loaded.items():
            if {test}:
                scaled[key] = value * strength
            else:
                scaled[key] = value
        return scaled
"""


def test_a_strength_on_every_tensor_is_squared(tmp_path: Path) -> None:
    source = EVERY_TENSOR.format(test="isinstance(value, torch.Tensor)")
    assert codes(tmp_path, dedent(source)) == ["LS114"]


def test_a_strength_on_one_factor_is_not(tmp_path: Path) -> None:
    source = EVERY_TENSOR.format(test="'lora_up' in key or 'lora_B' in key")
    assert codes(tmp_path, dedent(source)) == []


SUMMED = """
def merge_loras(paths, ratios, out):
    merged = {{}}
    for path, ratio in zip(paths, ratios):
        state = load_file(path)
        for key in state:
            if key in merged:
                merged[key] += state[key] * {ratio}
            else:
                merged[key] = state[key] * {ratio}
    save_file(merged, out)
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SUMMED.format(ratio="ratio"), ["medium"]),
        (SUMMED.format(ratio="ratio").replace("ratio", "strength"), ["medium"]),
        (SUMMED.format(ratio="math.sqrt(ratio)"), []),
        (SUMMED.format(ratio="ratio").replace("merge_loras", "average_models"), []),
    ],
)
def test_a_number_for_each_file(source: str, expected: list[str], tmp_path: Path) -> None:
    findings = lint_files(tmp_path, {"merge.py": source}, codes=["LS114"])
    assert [finding.confidence for finding in findings] == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("weight", "weight", ["high"]), ("weight", "1.0", []), ("weight**0.5", "weight**0.5", [])],
)
def test_roles_by_subscripts(first: str, last: str, expected: list[str], tmp_path: Path) -> None:
    source = (
        "def combine(target, adapters, weights):\n    for adapter, weight in zip(adapters, weights):\n"
        f'        target["lora_A"] += {first} * adapter["lora_A"]\n'
        f'        target["lora_B"] += {last} * adapter["lora_B"]\n'
    )
    findings = lint_files(tmp_path, {"lora.py": source}, codes=["LS114"])
    assert [finding.confidence for finding in findings] == expected


def test_a_table_of_numbers(tmp_path: Path) -> None:
    source = (
        "def block_strengths(names, lora_presets, strength: float = 1.0):\n"
        '    weights = lora_presets.get("block_weights")\n'
        "    return {name: float(weights.get(name, 1.0)) * float(strength) for name in names}\n"
    )
    assert lint_files(tmp_path, {"blocks.py": source}, codes=["LS114"]) == ()


OF_SOME = """
from safetensors.torch import load_file, save_file


def scale(path, strength):
    lora = load_file(path)
    for key in lora:
        if {asked}:
            lora[key] *= strength
    save_file(lora, path)
"""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ('key.endswith((".diff", ".diff_b"))', []),
        ('key.endswith(".diff") or key.endswith(".diff_b")', []),
        ('not key.endswith((".diff", ".diff_b"))', ["LS114"]),
        ('key.endswith((".lora_down.weight", ".lora_up.weight"))', ["LS114"]),
        ('key.endswith(".lora_up.weight")', []),
    ],
)
def test_entries_of_some_kinds(asked: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, OF_SOME.format(asked=asked)) == expected


BALANCED = """
def to_other_names(source, names, lora):
    for key in list(source):
        if not key.endswith("down.weight"):
            continue
        name = names.of(key)
        rank = source[key].shape[0]
        scale = source.pop(key.replace("down.weight", "alpha")).item() / rank
        lower, upper = scale, 1.0
        while lower * 2 < upper:
            lower *= 2
            upper /= 2
        lora[name] *= lower
        lora[name.replace(".down.", ".up.")] *= upper
    return lora
"""


def test_a_key_that_names_one_factor(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_names.py": BALANCED}, codes=["LS114"]) == ()


BLOCKS = """
def expand(lora_scales, blocks, per_block, default_scale=1.0):
    if "mid" not in lora_scales:
        lora_scales["mid"] = default_scale
    for part in ["up", "down"]:
        if part not in lora_scales:
            lora_scales[part] = default_scale
        if not isinstance(lora_scales[part], dict):
            lora_scales[part] = {f"block_{i}": lora_scales[part] for i in blocks[part]}
        for i in blocks[part]:
            block = f"block_{i}"
            if block not in lora_scales[part]:
                lora_scales[part][block] = default_scale
            elif len(lora_scales[part][block]) == 1:
                lora_scales[part][block] = lora_scales[part][block] * per_block[part]
    return lora_scales
"""


def test_blocks_of_a_unet_are_no_factors(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_blocks.py": BLOCKS}, codes=["LS114"]) == ()
    text = BLOCKS.replace('"mid"', '"all"')
    assert lint_files(tmp_path, {"lora_blocks.py": text}, codes=["LS114"]) != ()
