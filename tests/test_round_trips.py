"""Rank and alpha that one function saves, and another reads again: both, or neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class Layer(nn.Module):
    def __init__(self, host, rank, alpha=1.0):
        super().__init__()
        self.host = host
        self.rank, self.alpha = rank, alpha
        self.down = nn.Linear(host.in_features, rank, bias=False)
        self.up = nn.Linear(rank, host.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.host(x) + self.alpha / self.rank * self.up(self.down(x))


def wrap(model, rank, alpha=1.0):
    made = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and "attn" in name:
            made[name] = Layer(mod, rank, alpha)
    return made
"""

YAML = """\
import argparse

import torch
import yaml
from torch import nn
"""

KEPT = """\
def keep(folder, layers, args):
    torch.save({n: l.state_dict() for n, l in layers.items()}, folder / "side.pt")
    with open(folder / "side.yaml", "w") as out:
        yaml.safe_dump({"rank": args.rank, "alpha": args.alpha, "model": args.model}, out)


def settings(folder):
    with open(folder / "side.yaml") as src:
        return yaml.safe_load(src)


def serve(model, folder, args):
    told = settings(folder)
    if told["model"] != args.model:
        raise SystemExit("another model")
"""

TRAINED = """

def train(model, args):
    layers = wrap(model, args.rank, args.alpha)
    keep(args.out, layers, args)
"""

SETTINGS_IN_YAML_READ_BY_A_HELPER = (
    YAML,
    KEPT
    + """\
    layers = wrap(model, told["rank"], args.alpha)
    for name, state in torch.load(folder / "side.pt").items():
        layers[name].load_state_dict(state)
    return layers
"""
    + TRAINED,
)

METHODS_OF_ONE_CLASS_AND_A_NESTED_TABLE = (
    """\
import torch
from torch import nn
""",
    """\
class Session:
    def __init__(self, model, args):
        self.args = args
        self.model = model
        self.layers = wrap(model, args.rank, args.alpha)
        self.step = 0

    def checkpoint(self, path):
        state = {n: l.up.weight for n, l in self.layers.items()}
        cfg = {"rank": self.args.rank, "alpha": self.args.alpha, "on": "attn"}
        torch.save({"step": self.step, "cfg": cfg, "state": state}, path)

    def restore(self, path):
        saved = torch.load(path)
        cfg = saved["cfg"]
        self.step = saved["step"]
        assert cfg["on"] == "attn"
        self.layers = wrap(self.model, cfg["rank"])
        for n, t in saved["state"].items():
            self.layers[n].up.weight.data.copy_(t)
""",
)

SETTINGS_IN_A_RECORD = (
    """\
import json
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Spec:
    rank: int = 8
    alpha: float = 16.0
""",
    """\
def save(layers, spec, path):
    torch.save({n: (l.down.weight, l.up.weight) for n, l in layers.items()}, path)
    with open(path + ".json", "w") as f:
        json.dump(dict(rank=spec.rank, alpha=spec.alpha, count=len(layers)), f)


def load(model, path):
    with open(path + ".json") as f:
        head = json.load(f)
    spec = Spec(rank=head["rank"])
    layers = wrap(model, spec.rank, spec.alpha)
    assert len(layers) == head["count"]
    for n, (down, up) in torch.load(path).items():
        layers[n].down.weight.data.copy_(down)
        layers[n].up.weight.data.copy_(up)
    return layers


def fit(model, rank, alpha, path):
    spec = Spec(rank, alpha)
    layers = wrap(model, spec.rank, spec.alpha)
    save(layers, spec, path)
""",
)

ARGUMENTS_OF_SAVEZ = (
    """\
import numpy as np
import torch
from torch import nn
""",
    """\
def dump(layers, rank, alpha, path):
    flat = {}
    for n, l in layers.items():
        flat[n + "/down"] = l.down.weight.detach().numpy()
        flat[n + "/up"] = l.up.weight.detach().numpy()
    np.savez(path, rank=rank, alpha=alpha, **flat)


def restore(model, path):
    z = np.load(path)
    layers = wrap(model, int(z["rank"]))
    for n, l in layers.items():
        l.down.weight.data = torch.from_numpy(z[n + "/down"])
        l.up.weight.data = torch.from_numpy(z[n + "/up"])
    return layers


def main(model, args):
    layers = wrap(model, args.rank, args.alpha)
    dump(layers, args.rank, args.alpha, args.out)
""",
)

READ_IN_EVERY_WAY = (
    YAML,
    KEPT
    + """\
    alpha = told["alpha"] if args.alpha is None else args.alpha
    return wrap(model, told["rank"], alpha)


def again(model, folder):
    told = settings(folder)
    print(told["model"])
    given = {key: told[key] for key in ("rank", "alpha")}
    return wrap(model, **given)


def later(model, folder):
    told = settings(folder)
    print(told["model"])
    layers = wrap(model, told["rank"])
    for layer in layers.values():
        for key, value in told.items():
            setattr(layer, key, value)
    return layers


def third(model, folder):
    told = settings(folder)
    print(told["model"])
    layers = wrap(model, told["rank"])
    for layer in layers.values():
        configure(layer, told)
    return layers
"""
    + TRAINED,
)

FOLDED_INTO_A_FACTOR = (
    """\
import json

import torch
from torch import nn
""",
    """\
def fold(layers, path, rank, alpha):
    out = {}
    for n, l in layers.items():
        out[n] = (l.down.weight, l.up.weight * (l.alpha / l.rank))
    torch.save(out, path)
    with open(path + ".json", "w") as f:
        json.dump({"rank": rank, "trained_with": {"alpha": alpha}, "count": len(out)}, f)


def load(model, path):
    with open(path + ".json") as f:
        head = json.load(f)
    layers = wrap(model, head["rank"], head["rank"])  # the scale is in up
    assert len(layers) == head["count"]
    for n, (down, up) in torch.load(path).items():
        layers[n].down.weight.data.copy_(down)
        layers[n].up.weight.data.copy_(up)
    return layers


def fit(model, rank, alpha, path):
    layers = wrap(model, rank, alpha)
    fold(layers, path, rank, alpha)
""",
)

SETTINGS_THAT_NOBODY_WRITES = (
    """\
import json

import yaml
from torch import nn
""",
    """\
def run(model, args):
    with open(args.config) as f:
        cfg = yaml.safe_load(f)
    layers = wrap(model, cfg["rank"], args.alpha)
    for name in cfg["targets"]:
        layers[name].train()
    return layers


def report(args, losses):
    with open("report.json", "w") as f:
        json.dump({"rank": args.rank, "losses": losses, "alpha": args.alpha}, f)


def plot(path):
    with open(path) as f:
        data = json.load(f)
    return data["rank"], data["losses"]
""",
)

STORE = """\
import numpy as np


class Pairs:
    def __init__(self, alpha=1.0):
        self.usual = alpha
        self.left, self.right, self.alpha = {}, {}, {}

    def put(self, name, left, right, alpha=None):
        self.left[name], self.right[name] = left, right
        self.alpha[name] = self.usual if alpha is None else alpha

    def delta(self, name):
        rank = self.right[name].shape[0]
        return self.alpha[name] / rank * (self.left[name] @ self.right[name])

    def save(self, path):
        blob = {}
        for name in self.left:
            blob[f"{name}|left"] = self.left[name]
            blob[f"{name}|right"] = self.right[name]
            blob[f"{name}|alpha"] = self.alpha[name]
        np.savez_compressed(path, **blob)

    @classmethod
    def load(cls, path):
        store = cls()
        with np.load(path) as blob:
            for name in {key.rpartition("|")[0] for key in blob.files}:
                store.put(name, blob[f"{name}|left"], blob[f"{name}|right"]ALPHA)
        return store
"""


def program(parts: tuple[str, str]) -> dict[str, str]:
    """What imports it needs, the layer, and the functions."""
    return {"side.py": f"{parts[0]}\n\n{LAYER}\n\n{parts[1]}"}


@pytest.mark.parametrize(
    "parts",
    [
        SETTINGS_IN_YAML_READ_BY_A_HELPER,
        METHODS_OF_ONE_CLASS_AND_A_NESTED_TABLE,
        SETTINGS_IN_A_RECORD,
        ARGUMENTS_OF_SAVEZ,
    ],
)
def test_the_rank_is_read_again_and_alpha_is_not(parts: tuple[str, str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, program(parts))
    assert [(item.code, item.confidence) for item in found] == [("LS313", "high")]


@pytest.mark.parametrize("parts", [READ_IN_EVERY_WAY, FOLDED_INTO_A_FACTOR, SETTINGS_THAT_NOBODY_WRITES])
def test_nothing_that_was_saved_is_lost(parts: tuple[str, str], tmp_path: Path) -> None:
    assert not lint_files(tmp_path, program(parts))


@pytest.mark.parametrize(("alpha", "count"), [("", 1), (', float(blob[f"{name}|alpha"])', 0)])
def test_tensors_are_read_again_and_put_somewhere(alpha: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"pairs.py": STORE.replace("ALPHA", alpha)})
    assert [item.code for item in found] == ["LS313"] * count
