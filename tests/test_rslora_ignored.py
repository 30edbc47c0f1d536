"""LS401: which readers of adapter configurations must know `use_rslora`, and which need not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import fix_files, lint_files

LOADER = """
import json, os
from safetensors.torch import load_file


class LoRAAdapter:
    def __init__(self, path):
        config = self.read_config(path)
        self.rank = config.get("r", 8)
        self.alpha = float(config["lora_alpha"])
        self.factors = {"A": "lora_A", "B": "lora_B"}
        self.tensors = load_file(os.path.join(path, "adapter_model.safetensors"))

    def read_config(self, path):
        with open(os.path.join(path, "adapter_config.json")) as file:
            return json.load(file)

    def scale(self):
        return self.alpha / self.rank
"""

ATTRIBUTES = """
from peft import PeftConfig


def adapter_scales(paths):
    configs = [PeftConfig.from_pretrained(path) for path in paths]
    return [scale_of(config, "q_proj") for config in configs]


def scale_of(config, lora_target):
    if lora_target not in config.target_modules:
        return 1.0
    return config.lora_alpha / config.r
"""

HANDED_ON = """
import json


class LoRAModel:
    @classmethod
    def from_checkpoint(cls, folder, tensors):
        with open(folder + "/adapter_config.json") as file:
            config = json.load(file)
        return cls.from_tensors(rank=config["r"], lora_alpha=config["lora_alpha"], tensors=tensors)

    @classmethod
    def from_tensors(cls, rank, lora_alpha, tensors):
        lora_a = tensors["lora_A.weight"]
        lora_b = tensors["lora_B.weight"]
        return cls(Weights(rank, lora_alpha, lora_a, lora_b))
"""

FIELDS = """
from dataclasses import dataclass

from peft import LoraConfig as _LoraConfig


@dataclass
class AdapterSettings:
    r: int
    lora_alpha: int
    target_modules: list

    @classmethod
    def load(cls, folder):
        lora = _LoraConfig.from_pretrained(folder)
        return cls(r=lora.r, lora_alpha=lora.lora_alpha, target_modules=lora.target_modules)


def load_scale(settings: "AdapterSettings"):
    return settings.lora_alpha / settings.r
"""

FILTERED = """
import json
from dataclasses import dataclass


@dataclass
class LoRASettings:
    r: int
    lora_alpha: int
    target_modules: list

    @classmethod
    def from_folder(cls, folder):
        with open(folder + "/adapter_config.json") as file:
            config = json.load(file)
        return cls(**{key: config[key] for key in cls.__annotations__})

    @property
    def scaling(self):
        return self.lora_alpha / self.r
"""

SCRIPT = """
import peft
from safetensors.torch import load_file

lora_config = peft.LoraConfig.from_json_file("adapter_config.json")
scale = lora_config["lora_alpha"] / lora_config["r"]
tensors = load_file("adapter_model.safetensors")

for name, weight in load_file("model.safetensors").items():
    weight += scale * tensors[name + ".lora_B.weight"] @ tensors[name + ".lora_A.weight"]
"""

SET = """
import json

from .keys import split_key
from .weights import Weights


class LoRAModel:
    @classmethod
    def from_checkpoint(cls, folder, tensors):
        with open(folder + "/adapter_config.json") as file:
            config = json.load(file)
        only = config["target_modules"]
        return cls.from_tensors(rank=config["r"], lora_alpha=config["lora_alpha"], tensors=tensors, only=only)

    @classmethod
    def from_tensors(cls, rank, lora_alpha, tensors, only):
        loras = {}
        for key, tensor in tensors.items():
            module, is_lora_a = split_key(key, only)
            if module not in loras:
                loras[module] = Weights(module, rank, lora_alpha)
            if is_lora_a:
                loras[module].lora_a = tensor.t()
            else:
                loras[module].lora_b = tensor.t()
        return cls(loras)
"""

SOURCES = [LOADER, ATTRIBUTES, HANDED_ON, FIELDS, FILTERED, SCRIPT, SET]
NAMES = ["helper", "attributes", "handed-on", "fields", "filtered", "script", "set"]


def codes(folder: Path, **files: str) -> list[str]:
    """Codes of LS401 findings in a small project."""
    paths = []
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        paths.append(path)
    return [finding.code for finding in lint(paths, [], codes=["LS401"]).findings]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_fires(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_loader=source) == ["LS401"]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_repairs_read_the_flag(source: str, tmp_path: Path) -> None:
    texts, left = fix_files(tmp_path, {"lora.py": source}, unsafe=True)
    repaired = texts["lora.py"] != source
    assert repaired == ("use_rslora" in texts["lora.py"])
    assert [finding.code for finding in left if finding.code != "LS412"] == ([] if repaired else ["LS401"])
    assert fix_files(tmp_path, {"lora.py": source})[0]["lora.py"] == source, "unsafe"


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_check_beside_the_loader_is_enough(source: str, tmp_path: Path) -> None:
    check = "def check(config):\n    if config.get('use_rslora'):\n        raise ValueError('no rsLoRA')\n"
    assert codes(tmp_path, lora_loader=source, lora_check=check) == []


def test_a_subclass_may_know_the_flag(tmp_path: Path) -> None:
    subclass = LOADER + (
        "\n\nclass Stabilized(LoRAAdapter):\n    def scale(self):\n"
        "        return self.alpha / self.rank**0.5 if self.use_rslora else super().scale()\n"
    )
    assert codes(tmp_path, lora_loader=subclass) == []


def test_a_trainers_own_file_is_silent(tmp_path: Path) -> None:
    source = LOADER.replace("adapter_config.json", "train_lora_meta.json")
    assert codes(tmp_path, lora_loader=source) == []


def test_a_config_without_origin_is_silent(tmp_path: Path) -> None:
    source = """
def lora_scale(config, model):
    target = config.target_modules
    own = model.peft_config["default"]
    return config.lora_alpha / config.r, own.lora_alpha / own.r
"""
    assert codes(tmp_path, lora_scale=source) == []


def test_two_fields_alone_are_no_general_reader(tmp_path: Path) -> None:
    source = """
import json


def head_scale(folder):
    with open(folder + "/adapter_config.json") as file:
        lora = json.load(file)
    return lora["lora_alpha"] / lora["r"]
"""
    assert codes(tmp_path, lora_head=source) == []


def test_fields_of_two_configs_do_not_meet(tmp_path: Path) -> None:
    source = """
import json


def rescale(old_folder, new_folder):
    with open(old_folder + "/adapter_config.json") as file:
        old_lora = json.load(file)
    with open(new_folder + "/adapter_config.json") as file:
        new_lora = json.load(file)
    print(new_lora["target_modules"])
    return new_lora["lora_alpha"] / old_lora["r"]
"""
    assert codes(tmp_path, lora_rescale=source) == []


def test_a_dataclass_with_the_flag_is_silent(tmp_path: Path) -> None:
    source = FILTERED.replace("    target_modules", "    use_rslora: bool\n    target_modules", 1)
    assert codes(tmp_path, lora_settings=source) == []


def test_a_dataclass_that_the_trainer_fills_is_silent(tmp_path: Path) -> None:
    source = FILTERED.replace("adapter_config.json", "recipe.json")
    assert codes(tmp_path, lora_settings=source) == []


HUB = """
import json
import os

from huggingface_hub import snapshot_download


def read_config(folder, mode="adapter"):
    if not os.path.isdir(folder):
        folder = snapshot_download(folder)
    name = "adapter_config.json" if mode == "adapter" else "config.json"
    with open(os.path.join(folder, name)) as file:
        return json.load(file), folder
"""


@pytest.mark.parametrize(
    "taken",
    [
        "self.config, folder = adapter_config(folder)",
        "self.config = adapter_config(folder)[0]",
        "config, _ = read_config(folder)\n        self.config = config",
    ],
)
def test_a_configuration_among_the_results_of_helpers(taken: str, tmp_path: Path) -> None:
    part = f"""
from deep.utils.hub_files import read_config


def adapter_config(folder, dummy=False):
    if dummy:
        return {{"r": 8}}, folder
    return read_config(folder)


class LoraPart:
    def __init__(self, folder):
        {taken}
        self.r = self.config["r"]
        self.scaling = self.config["lora_alpha"] / self.r
"""
    for name, source in {"utils/hub_files.py": HUB, "layers/lora_part.py": part}.items():
        path = tmp_path / "deep" / name
        path.parent.mkdir(parents=True)
        path.write_text(source)
    found = lint(list(tmp_path.rglob("*.py")), [], codes=["LS401"]).findings
    assert [finding.code for finding in found] == ["LS401"]


DECLARED = """
from peft import LoraConfig


class AdapterServer:
    def load_layer(self, module_map, adapter_config: LoraConfig, layer):
        lora_a = module_map[layer]["lora_A"]
        lora_b = module_map[layer]["lora_B"]
        scale = adapter_config.lora_alpha / adapter_config.r
        self.add(lora_a.transpose(0, 1), lora_b.transpose(0, 1) * scale)
"""

PREFIXED = """
def ranks_and_scales(target, cfgs):
    for cfg in cfgs:
        if target in cfg.target_modules:
            yield cfg.r, float(cfg.lora_alpha / cfg.r)


def load_lora_weights(params, weights):
    for name, weight in weights:
        name = name[len("base_model.model.") :]
        if name.split(".")[-2] in ("lora_A", "lora_B"):
            params[name].copy_(weight)
"""

GIVEN = """
def fold_adapter(state_dict, adapter_config):
    scale = adapter_config["lora_alpha"] / adapter_config["r"]
    return {
        key: value * scale if key.endswith("lora_B.weight") else value
        for key, value in state_dict.items()
        if "lora_A" in key or "lora_B" in key
    }
"""

HELD = """
import peft


class LoraMerger:
    def __init__(self, peft_config: "peft.PeftConfig | None", tensors):
        self.peft_config = peft_config
        self.tensors = tensors

    def scale(self):
        return self.peft_config.lora_alpha / self.peft_config.r

    def delta(self, name):
        return self.tensors[name + ".lora_B.weight"] @ self.tensors[name + ".lora_A.weight"] * self.scale()
"""


@pytest.mark.parametrize("source", [DECLARED, PREFIXED, GIVEN, HELD], ids=["peft", "prefix", "name", "held"])
def test_a_configuration_that_is_filled_out_of_sight(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_served=source) == ["LS401"]


OWN = DECLARED + (
    "\n\ndef train(server, maps):\n    server.load_layer(maps, LoraConfig(r=8, lora_alpha=16), 0)\n"
)
MAKES = """
from peft import LoraConfig
from torch import nn


class LoraLinear(nn.Module):
    def __init__(self, base, config: LoraConfig):
        self.lora_A = nn.Linear(base.in_features, config.r)
        self.lora_B = nn.Linear(config.r, base.out_features)
        self.scaling = config.lora_alpha / config.r
"""


@pytest.mark.parametrize(
    "source",
    [
        OWN,
        MAKES,
        DECLARED.replace("from peft import", "from own_layers import"),
        PREFIXED.replace("base_model.model.", "model."),
        PREFIXED.replace("cfgs)", "cfgs: list[TrainingSettings])"),
        GIVEN.replace("adapter_config", "train_config"),
        DECLARED.replace("adapter_config.lora_alpha / adapter_config.r", "adapter_config.lora_alpha"),
        # Another library's format, with a field that PEFT's lacks, and a fork of PEFT with its own class.
        GIVEN.replace(
            "    return {",
            "    made = adapter_config['lora_init'] if 'lora_init' in adapter_config else {}\n    return {",
        ),
        GIVEN + "\n\nclass LoraConfig:\n    r: int = 8\n    lora_alpha: int = 8\n",
    ],
)
def test_a_configuration_of_a_trainer_is_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_served=source) == []


OUT_OF_SIGHT = """
import json

from my_layers.config import LowRankConfig


def load_lora_adapter(folder, tensors):
    with open(folder + "/adapter_config.json") as file:
        config = json.load(file)
    settings = LowRankConfig(lora_rank=config["r"], lora_alpha=config["lora_alpha"], dropout=0.0)
    names = {"lora_A": "lora_a", "lora_B": "lora_b"}
    kind = config["peft_type"]
    return settings, {names[name.split(".")[-2]]: tensor.T for name, tensor in tensors.items()}
"""
CALL = 'LowRankConfig(lora_rank=config["r"], lora_alpha=config["lora_alpha"], dropout=0.0)'


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        'LowRankConfig(alpha=float(config.get("lora_alpha", 8)), rank=int(config.get("r", 8)))',
        'folder.model.add_lora(r=config["r"], network_alpha=config["lora_alpha"])',
        'make(lora_dim=config.pop("r"), alpha_value=config.pop("lora_alpha"))',
        'LowRankConfig(rank=config["r"] or 8, alpha=config["lora_alpha"] or 8, keys=config["modules"])',
    ],
)
def test_both_fields_for_a_configuration_out_of_sight(call: str, tmp_path: Path) -> None:
    source = OUT_OF_SIGHT.replace(CALL, call)
    assert codes(tmp_path, lora_import=source) == ["LS401"]
    texts, left = fix_files(tmp_path, {"lora.py": source}, unsafe=True)
    assert "use_rslora" not in texts["lora.py"] or "LS401" not in {finding.code for finding in left}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dropout=0.0)", "extra=config)"),
        ("dropout=0.0)", "**config)"),
        ("dropout=0.0)", 'rslora=config.get("use_rslora"))'),
        ("LowRankConfig(lora", "print(lora"),
        ("LowRankConfig(lora", "dict(lora"),
        ("return settings, {", "return settings, config, {"),
        ("    return", "    folder.config = config\n    return"),
        ("    return", "    check_lora_config(config)\n    return"),
        ('"lora_A": "lora_a", "lora_B": "lora_b"', ""),
        ('"/adapter_config.json"', '"/recipe.json"'),
        ('lora_alpha=config["lora_alpha"]', "lora_alpha=16"),
    ],
)
def test_both_fields_and_more_is_silent(old: str, new: str, tmp_path: Path) -> None:
    source = OUT_OF_SIGHT.replace(old, new)
    if "recipe" in new:
        source = source.replace('    kind = config["peft_type"]\n', "")
    assert codes(tmp_path, lora_import=source) == []


TRAINER = """
from peft import LoraConfig, get_peft_model


def train(model):
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"]))
"""


@pytest.mark.parametrize(("flag", "confidence"), [("", "medium"), (", use_rslora=True", None)])
def test_adapters_that_the_project_makes_without_rslora(
    flag: str, confidence: str | None, tmp_path: Path
) -> None:
    """Its loader may never meet another one: plausible, and not shown."""
    trainer = TRAINER.replace('["q_proj"]', f'["q_proj"]{flag}')
    for name, source in {"loading.py": LOADER, "training.py": trainer}.items():
        (tmp_path / name).write_text(source)
    found = lint(list(tmp_path.glob("*.py")), [], codes=["LS401"]).findings
    assert [finding.confidence for finding in found] == ([] if confidence is None else [confidence])


def test_a_loop_over_a_number_of_layers_that_subclasses_give(tmp_path: Path) -> None:
    source = """
from peft import LoraConfig


class LoraModel:
    def layers(self):
        return 0

    def load(self, module_map, adapter_config: LoraConfig):
        for layer in range(self.layers()):
            lora_a = module_map[layer]["lora_A"]
            lora_b = module_map[layer]["lora_B"]
            scale = adapter_config.lora_alpha / adapter_config.r
            self.add(lora_a.T, lora_b.T * scale)
"""
    assert codes(tmp_path, lora_model=source) == ["LS401"]


def test_factors_that_a_layer_makes_are_no_reader(tmp_path: Path) -> None:
    source = """
import json

import torch
from torch import nn


class LoRALinear(nn.Module):
    @classmethod
    def from_settings(cls, path):
        with open(path + "/adapter_config.json") as file:
            config = json.load(file)
        return cls.make(rank=config["r"], lora_alpha=config["lora_alpha"])

    @classmethod
    def make(cls, rank, lora_alpha):
        layer = cls(rank, lora_alpha)
        layer.lora_a = nn.Parameter(torch.zeros(rank, 8))
        layer.lora_b = nn.Parameter(torch.zeros(8, rank))
        return layer
"""
    assert codes(tmp_path, layer=source) == []


PADDED = """
from peft import LoraConfig


class LoraModel:
    def load(self, module_map, adapter_config: LoraConfig):
        rows = []
        for name in module_map:
            lora_a = module_map[name]["lora_A"]
            lora_b = module_map[name]["lora_B"]
            scale = adapter_config.lora_alpha / adapter_config.r
            rows.append((lora_a.T, lora_b.T * scale))
        if rows:
            adapter_config.r = rows[0][0].size(1)
        return rows
"""


def test_a_rank_that_is_set_after_it_was_read(tmp_path: Path) -> None:
    assert codes(tmp_path, lora_model=PADDED) == ["LS401"]


def test_a_rank_that_is_set_before_it_is_read(tmp_path: Path) -> None:
    line = "            adapter_config.r = module_map[name].size(1)\n"
    source = PADDED.replace("            scale =", f"{line}            scale =")
    assert codes(tmp_path, lora_model=source) == []


MISREAD = """
from peft import LoraConfig


def load_adapter(cfg):
    options = {{}}
    if {test}:
        options["use_rslora"] = {value}
    return LoraConfig(r=cfg.lora_r, lora_alpha=cfg.lora_alpha, **options)
"""


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ("cfg.peft_use_rslora", "cfg.use_rslora", ["LS409"]),
        ("cfg.lora_r > 1 and cfg.rslora", "cfg.rslora_enabled", ["LS409"]),
        ("cfg.peft_use_rslora", "cfg.peft_use_rslora", []),
        ("cfg.peft_use_rslora", "True", []),
        ("cfg.adapter == 'lora'", "cfg.use_rslora", []),
        ("cfg.use_rslora and cfg.rslora_supported", "cfg.use_rslora", []),
    ],
)
def test_a_flag_that_is_tested_under_another_name(
    test: str, value: str, expected: list[str], tmp_path: Path
) -> None:
    source = MISREAD.format(test=test, value=value)
    findings = lint_files(tmp_path, {"lora_training.py": source}, codes=["LS409"])
    assert [finding.code for finding in findings] == expected


TWO_MERGERS = """
import json, math
from safetensors.torch import load_file


def scaling_of(config):
    divisor = math.sqrt(config["r"]) if config.get("use_rslora") else config["r"]
    return config["lora_alpha"] / divisor


def merge_linear(weight, path, name):
    config = json.load(open(path + "/adapter_config.json"))
    sd = load_file(path + "/adapter_model.safetensors")
    return weight + scaling_of(config) * (sd[name + ".lora_B.weight"] @ sd[name + ".lora_A.weight"])


def merge_embedding(weight, path, name):
    config = json.load(open(path + "/adapter_config.json"))
    sd = load_file(path + "/adapter_model.safetensors")
    scale = {scale}
    return weight + scale * (sd[name + ".lora_B.weight"] @ sd[name + ".lora_A.weight"])
"""


@pytest.mark.parametrize(
    ("scale", "expected"),
    [('config["lora_alpha"] / config["r"]', ["medium"]), ("scaling_of(config)", [])],
)
def test_one_of_two_that_knows_no_flag(scale: str, expected: list[str], tmp_path: Path) -> None:
    source = TWO_MERGERS.format(scale=scale)
    findings = lint_files(tmp_path, {"lora_merge.py": source}, codes=["LS401"])
    assert [finding.confidence for finding in findings] == expected


def test_a_caller_that_refuses_the_flag(tmp_path: Path) -> None:
    source = TWO_MERGERS.format(scale='config["lora_alpha"] / config["r"]')
    source += (
        "\n\ndef merge(weight, path, name, use_rslora):\n    if use_rslora:\n        raise ValueError\n"
        "    return merge_embedding(weight, path, name)\n"
    )
    assert lint_files(tmp_path, {"lora_merge.py": source}, codes=["LS401"]) == ()


CONVERTER = """
import json
import torch
from omegaconf import OmegaConf


def convert_lora(folder, template, target):
    source = json.loads(open(folder + "/adapter_config.json").read())
    settings = OmegaConf.load(template)
    settings.tuning.targets = source["target_modules"]
    settings.tuning.adapter_dim = source["r"]
    settings.tuning.alpha = source["lora_alpha"]{more}
    OmegaConf.save(settings, target)
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ["high"]),
        (' * (source["r"] ** 0.5 if source["use_rslora"] else 1)', []),
        ('\n    settings.tuning.rslora = source.get("use_rslora", False)', []),
    ],
)
def test_settings_of_another_program(more: str, expected: list[str], tmp_path: Path) -> None:
    findings = lint_files(tmp_path, {"lora_convert.py": CONVERTER.format(more=more)}, codes=["LS401"])
    assert [finding.confidence for finding in findings] == expected


SCALE_OF_A_FOLDER = """
import json
import os


def strength_of(folder):
    with open(os.path.join(folder, "adapter_config.json")) as file:
        fields = json.load(file)
    wide, narrow = fields.get("lora_alpha"), fields.get("r")
    if not isinstance(wide, (int, float)) or not narrow:
        return None
    return float(wide) / float(narrow){flag}


def joined(tensors, scales):
    found = {{}}
    for index, table in enumerate(tensors):
        for name in table:
            if name.endswith({down!r}):
                found.setdefault(name, []).append(table[name] * scales[index])
            elif name.endswith({up!r}):
                found.setdefault(name, []).append(table[name])
    return found
"""


@pytest.mark.parametrize(
    ("down", "up", "flag", "expected"),
    [
        (".lora_A.weight", ".lora_B.weight", "", ["medium"]),
        (".lora_A.weight", ".lora_B.weight", ' * (narrow**0.5 if fields.get("use_rslora") else 1)', []),
        (".weight", ".bias", "", []),
    ],
)
def test_a_scale_that_another_function_of_the_file_gets(
    down: str, up: str, flag: str, expected: list[str], tmp_path: Path
) -> None:
    source = SCALE_OF_A_FOLDER.format(down=down, up=up, flag=flag)
    findings = lint_files(tmp_path, {"lora_sums.py": source}, codes=["LS401"])
    assert [finding.confidence for finding in findings] == expected
