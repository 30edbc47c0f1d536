"""LS210: which records of a module's tensors start with a wrong alpha."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS210 in one file."""
    path = folder / "lora_loading.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS210"]).findings]


PLAIN = """
class LoraLayer:
    def __init__(self):
        self.lora_up = None
        self.lora_down = None
        self.alpha = {default}

    def weight(self, strength):
        rank = self.lora_down.shape[0]
        return strength * self.alpha / rank * (self.lora_up @ self.lora_down)


def load(path):
    layers = {{}}
    for key, value in load_file(path).items():
        layer = layers.setdefault(key.split(".")[0], LoraLayer())
        if "lora_up" in key:
            layer.lora_up = value
        elif "lora_down" in key:
            layer.lora_down = value
        elif {test}:
            layer.alpha = value.item()
    return layers
"""

FIELDS = """
from attrs import define, field


@define
class LoraPair:
    up = field(default=None)
    down = field(default=None)
    lora_alpha = field(default=16)

    def scale(self):
        return float(self.lora_alpha) / self.down.shape[0]


def pairs(state_dict):
    found = {}
    for key in state_dict:
        name, part = key.rsplit(".", 1)
        found.setdefault(name, LoraPair())
        setattr(found[name], part, state_dict[key])
    return found
"""

TABLE = """
def merge_lora(weights, state_dict, ratio):
    entries = {{}}
    for key, value in state_dict.items():
        name = key.split(".")[0]
        entry = entries.setdefault(name, {{"lora_up": None, "lora_down": None, "alpha": {default}}})
        if key.endswith("lora_up.weight"):
            entry["lora_up"] = value
        elif key.endswith("lora_down.weight"):
            entry["lora_down"] = value
        elif key.endswith(".alpha"):
            entry["alpha"] = value.item()
    for name, entry in entries.items():
        scale = entry["alpha"] / entry["lora_down"].shape[0]
        weights[name] += ratio * scale * (entry["lora_up"] @ entry["lora_down"])
"""


@pytest.mark.parametrize(
    "source",
    [
        PLAIN.format(default="1.0", test='"alpha" in key'),
        PLAIN.format(default="1", test='key.endswith(".alpha")'),
        FIELDS,
        TABLE.format(default="1.0"),
    ],
)
def test_a_constant_stays_where_the_file_has_no_alpha(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS210"]


@pytest.mark.parametrize(
    "source",
    [
        PLAIN.format(default="None", test='"alpha" in key'),
        PLAIN.format(default="1.0", test="True"),
        TABLE.format(default="None"),
        FIELDS.replace("/ self.down.shape[0]", "* 0.5"),  # no division: a strength
        FIELDS.replace("    up = field(default=None)\n", ""),
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []
