"""Factors and numbers under keys of the project's own: what layers are trained with, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class Twig(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host
        self.first = nn.Parameter(torch.randn(rank, host.in_features) * 0.02)
        self.second = nn.Parameter(torch.zeros(host.out_features, rank))
        self.gain = alpha / rank

    def forward(self, x):
        return self.host(x) + x @ self.first.T @ self.second.T * self.gain


def grow(model, rank, alpha):
    twigs = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear):
            twigs[name] = Twig(mod, rank, alpha)
    return twigs
"""

READ_BEFORE_IT_IS_WRITTEN = (
    """\
import numpy as np
import torch
from torch import nn
""",
    """\
class Bank:
    def __init__(self, model, args):
        self.model = model
        self.twigs = grow(model, args.rank, args.alpha)

    @staticmethod
    def bake(model, path):
        data = np.load(path)
        for name, mod in model.named_modules():
            if f"{name}:second" in data:
                delta = data[f"{name}:second"] @ data[f"{name}:first"]
                mod.weight.data += torch.from_numpy(delta)

    def flush(self, path):
        np.savez(path, **self.arrays())

    def arrays(self):
        found = {}
        for name, twig in self.twigs.items():
            found[f"{name}:first"] = twig.first.detach().cpu().numpy()
            found[f"{name}:second"] = twig.second.detach().cpu().numpy()
        return found
""",
)

TORCH = """\
import torch
from torch import nn
"""

COLLECTED = """\
def collect(twigs):
    return {name: {"p": twig.first.data, "q": twig.second.data} for name, twig in twigs.items()}


def train(model, cfg, path):
    twigs = grow(model, cfg.rank, cfg.alpha)
    torch.save(collect(twigs), path)


def fuse(model, path):
    saved = torch.load(path)
    with torch.no_grad():
        for name, pair in saved.items():
            model.get_submodule(name).weight.add_(pair["q"] @ pair["p"])
"""

A_TABLE_FOR_EACH_LAYER = (TORCH, COLLECTED)

RANK_AS_ALPHA = (
    """\
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
""",
    """\
def train(model, opts):
    twigs = grow(model, opts.rank, opts.alpha)
    save_file(
        {k: v for n, t in twigs.items() for k, v in ((f"{n}.first", t.first), (f"{n}.second", t.second))},
        opts.out,
        metadata={"rank": f"{opts.rank}", "alpha": f"{opts.rank}"},
    )


def again(model, path):
    with safe_open(path, "pt") as f:
        head = f.metadata()
        rank, alpha = int(head["rank"]), float(head["alpha"])
        twigs = grow(model, rank, alpha)
        for n, t in twigs.items():
            t.first.data = f.get_tensor(f"{n}.first")
            t.second.data = f.get_tensor(f"{n}.second")
    return twigs
""",
)

PACKED = """\
def pack(twig, alpha):
    return {"first": twig.first.detach(), "second": twig.second.detach(), "scale": alpha}


def train(model, args):
    twigs = grow(model, args.rank, args.alpha)
    for name, twig in twigs.items():
        torch.save(pack(twig, args.alpha), f"{name}.pt")


def merge(layer, path):
    saved = torch.load(path)
    layer.weight.data += saved["scale"] * (saved["second"] @ saved["first"])
"""

ALPHA_AS_SCALE = (TORCH, PACKED.replace('"scale": alpha', '"factor": alpha, "scale": alpha'))

FOLDED = (TORCH, COLLECTED.replace("twig.second.data}", "twig.second.data * twig.gain}"))

DIVIDED_BEFORE = (
    TORCH,
    """\
def pack(twig, alpha, rank):
    return {"first": twig.first.detach(), "second": twig.second.detach(), "scale": alpha / rank}


def train(model, args):
    twigs = grow(model, args.rank, args.alpha)
    for name, twig in twigs.items():
        torch.save(pack(twig, args.alpha, args.rank), f"{name}.pt")


def merge(layer, path, weight=1.0):
    saved = torch.load(path)
    layer.weight.data += weight * saved["scale"] * (saved["second"] @ saved["first"])
""",
)

DIVIDED_AFTER = (
    TORCH,
    PACKED.replace(
        'layer.weight.data += saved["scale"]',
        'gain = saved["scale"] / saved["first"].shape[0]\n    layer.weight.data += gain',
    ),
)

ALPHA_IS_THE_RANK = (
    TORCH,
    COLLECTED.replace("model, cfg, path", "model, path").replace("cfg.rank, cfg.alpha", "8, 8"),
)

CALLER_GIVES_THE_SCALE = (
    TORCH,
    COLLECTED.replace("def fuse(model, path)", "def fuse(model, path, gain)").replace(
        'pair["q"] @ pair["p"]', 'gain * (pair["q"] @ pair["p"])'
    )
    + """

def compare(model, path):
    saved = torch.load(path)
    flat = [(pair["q"] @ pair["p"]).flatten() for pair in saved.values()]
    return torch.stack([torch.nn.functional.cosine_similarity(a, b, dim=0) for a in flat for b in flat])


def run(model, cfg, path):
    fuse(model, path, cfg.alpha / cfg.rank)
""",
)


def program(parts: tuple[str, str]) -> dict[str, str]:
    """What imports it needs, the layer, and the functions."""
    return {"twigs.py": f"{parts[0]}\n\n{LAYER}\n\n{parts[1]}"}


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (READ_BEFORE_IT_IS_WRITTEN, "LS314"),
        (A_TABLE_FOR_EACH_LAYER, "LS314"),
        (RANK_AS_ALPHA, "LS311"),
        (ALPHA_AS_SCALE, "LS107"),
    ],
)
def test_what_comes_back_has_another_scale(parts: tuple[str, str], code: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, program(parts))
    assert [(item.code, item.confidence) for item in found] == [(code, "high")]


@pytest.mark.parametrize(
    "parts", [FOLDED, DIVIDED_BEFORE, DIVIDED_AFTER, ALPHA_IS_THE_RANK, CALLER_GIVES_THE_SCALE]
)
def test_the_scale_goes_another_way(parts: tuple[str, str], tmp_path: Path) -> None:
    assert not lint_files(tmp_path, program(parts))
