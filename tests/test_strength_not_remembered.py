"""LS240: caches and tests for what is loaded that leave the strength out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = """\
from safetensors.torch import load_file


class LoraServer:
    def __init__(self, pipe):
        self.pipe, self.current, self.made, self.active = pipe, None, {}, set()

    def deltas(self, path, strength):
        sd = load_file(path)
        return {
            key: sd[key] @ sd[key.replace("lora_B", "lora_A")] * strength
            for key in sd
            if key.endswith(".lora_B.weight")
        }

"""
WRONG = {
    "a table": """\
    def get(self, name, strength=1.0):
        if name not in self.made:
            self.made[name] = self.deltas(name, strength)
        return self.made[name]
""",
    "a table, with the way out first": """\
    def get(self, name, lora_strength):
        if name in self.made:
            return self.made[name]
        made = self.deltas(name, lora_strength)
        self.made[name] = made
        return made
""",
    "a table that is asked with get": """\
    def get(self, name, strength=1.0):
        hit = self.made.get(name)
        if hit is None:
            hit = self.deltas(name, strength)
            self.made[name] = hit
        return hit
""",
    "a table that is asked with get, with the way out first": """\
    def get(self, name, strength=1.0):
        hit = self.made.get(name)
        if hit is not None:
            return hit
        self.made[name] = self.deltas(name, strength)
        return self.made[name]
""",
    "what was loaded last, asked for being another": """\
    def use(self, path, lora_scale):
        if path != self.current and path != "none":
            self.pipe.load(path)
            self.pipe.set_scale(lora_scale)
            self.current = path
        elif path == "none":
            self.pipe.unload()
""",
    "what was loaded last": """\
    def use(self, path, lora_scale):
        if self.current == path:
            return
        self.pipe.unfuse_lora()
        self.pipe.load_lora_weights(path)
        self.pipe.fuse_lora(lora_scale=lora_scale)
        self.current = path
""",
    "a set of names": """\
    def load(self, names, strengths):
        for name, strength in zip(names, strengths):
            self.load_one(name, strength)

    def load_one(self, name, strength):
        if not name in self.active:
            self.pipe.load_lora_weights(name, adapter_name=name)
            self.pipe.set_adapters([name], [strength])
            self.active.add(name)
""",
}
RIGHT = {
    "a part of the key": """\
    def get(self, name, strength=1.0):
        key = (name, strength)
        if key not in self.made:
            self.made[key] = self.deltas(name, strength)
        return self.made[key]
""",
    "a part of the text of the key": """\
    def get(self, name, strength=1.0):
        key = f"{name}@{strength}"
        if key not in self.made:
            self.made[key] = self.deltas(name, strength)
        return self.made[key]
""",
    "asked with get for both": """\
    def get(self, name, strength=1.0):
        hit = self.made.get((name, strength))
        if hit is None:
            hit = self.made[name, strength] = self.deltas(name, strength)
        return hit
""",
    "multiplied behind the look-up": """\
    def get(self, name, strength=1.0):
        if name not in self.made:
            self.made[name] = self.deltas(name, 1.0)
        return {key: delta * strength for key, delta in self.made[name].items()}
""",
    "set on the other branch": """\
    def use(self, path, strength):
        if path == self.current:
            self.pipe.set_adapters(["it"], [strength])
            return
        self.pipe.load_lora_weights(path, adapter_name="it")
        self.pipe.set_adapters(["it"], [strength])
        self.current = path
""",
    "both are compared": """\
    def use(self, path, strength):
        if (path, strength) == self.current:
            return
        self.pipe.load_lora_weights(path)
        self.pipe.fuse_lora(lora_scale=strength)
        self.current = (path, strength)
""",
    "merged once, whatever is given": """\
    def merge(self, strength):
        if self.current:
            return
        self.pipe.fuse_lora(lora_scale=strength)
        self.current = True
""",
    "the file alone is kept": """\
    def apply(self, model, path, strength):
        if path not in self.made:
            self.made[path] = load_file(path)
        for key, up in self.made[path].items():
            if key.endswith(".lora_B.weight"):
                model[key].data += strength * up @ self.made[path][key.replace("lora_B", "lora_A")]
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_server.py": HEAD + WRONG[name]}, codes=["LS240"])
    assert [finding.code for finding in found] == ["LS240"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_server.py": HEAD + RIGHT[name]}, codes=["LS240"]) == ()


CACHE = """
import comfy.sd


class Made:
    def __init__(self):
        self.held = {{}}

    def get(self, key):
        if key in self.held:
            return self.held[key]
        return None

    def put(self, key, value):
        self.held[key] = value


CACHE = Made()


class CachedLoraLoader:
    def load(self, model, lora, name, strength_model):
        if strength_model == 0:
            return model
        key = {key}
        hit = CACHE.get(key)
        if hit is not None:
            return hit
        patched = comfy.sd.load_lora_for_models(model, lora, strength_model)
        CACHE.put(key, patched)
        return patched
"""


@pytest.mark.parametrize(
    ("key", "count"), [("(name, id(lora))", 1), ("name", 1), ("(name, strength_model)", 0)]
)
def test_an_object_that_keeps_what_was_made(key: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_node.py": CACHE.format(key=key)}, codes={"LS240"})
    assert [item.confidence for item in found] == ["medium"] * count


LAYER = """\
import torch.nn.functional as F


class LoraLinear:
    def __init__(self, linear, lora_A, lora_B, alpha):
        self.linear, self.lora_A, self.lora_B = linear, lora_A, lora_B
        self.scaling = alpha / lora_A.shape[0]
        self.strength, self.kept, self.table = 1.0, None, {}

    def merged(self):
        return self.linear.weight + self.strength * self.scaling * (self.lora_B @ self.lora_A)

"""
STALE = {
    "a field": """\
    def set_strength(self, value):
        self.strength = value

    def forward(self, x):
        if self.kept is None:
            self.kept = self.merged()
        return F.linear(x, self.kept)
""",
    "an early return": """\
    @property
    def weight(self):
        if self.kept is not None:
            return self.kept
        self.kept = self.linear.weight + self.strength * self.scaling * (self.lora_B @ self.lora_A)
        return self.kept

    def turn(self, amount):
        self.strength = float(amount)
""",
    "a table": """\
    def scale_to(self, value):
        self.strength = value

    def delta(self, dtype):
        if dtype not in self.table:
            self.table[dtype] = (self.strength * self.scaling * (self.lora_B @ self.lora_A)).to(dtype)
        return self.table[dtype]
""",
}
OUTSIDE = """\
    def forward(self, x):
        if self.kept is None:
            self.kept = self.merged()
        return F.linear(x, self.kept)


def set_multiplier(layers, value):
    for layer in layers:
        layer.strength = value
        {more}
"""
STALE["set from outside"] = OUTSIDE.format(more="pass")
FRESH = {
    "emptied from outside": OUTSIDE.format(more="layer.kept = None"),
    "set by a method of methods that empty it": STALE["a field"].replace("set_strength", "_set")
    + "\n    def turn(self, value):\n        self._set(value)\n        self.kept = None\n",
    "emptied": STALE["a field"].replace(
        "self.strength = value", "self.strength = value\n        self.kept = None"
    ),
    "emptied by a method": STALE["a field"].replace(
        "self.strength = value", "self.strength = value\n        self.forget()"
    )
    + "\n    def forget(self):\n        self.kept = None\n",
    "a flag": STALE["a field"]
    .replace("self.strength = value", "self.strength = value\n        self.dirty = True")
    .replace("self.kept is None", "self.kept is None or self.dirty"),
    "asked": STALE["a field"].replace("self.kept is None", "self.kept is None or self.of != self.strength"),
    "multiplied behind it": STALE["a field"]
    .replace("self.kept = self.merged()", "self.kept = self.scaling * (self.lora_B @ self.lora_A)")
    .replace("F.linear(x, self.kept)", "F.linear(x, self.linear.weight + self.strength * self.kept)"),
    "always made anew": STALE["a field"].replace("if self.kept is None:", "if x is not None:"),
    "only a constructor sets it": STALE["a field"].replace(
        "def set_strength(self, value)", "def setup(self, value)"
    ),
}


@pytest.mark.parametrize("body", STALE.values(), ids=STALE)
def test_a_number_in_what_a_field_keeps(body: str, tmp_path: Path) -> None:
    """What a setter changes must reach what was made with it."""
    found = lint_files(tmp_path, {"layer.py": LAYER + body}, codes=["LS240"])
    assert [(item.code, item.confidence) for item in found] == [("LS240", "high")]


@pytest.mark.parametrize("body", FRESH.values(), ids=FRESH)
def test_what_is_made_anew_is_right(body: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"layer.py": LAYER + body}, codes=["LS240"])
