"""LS314: a program that trains with alpha and rank tells them to whoever loads its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.findings import Confidence
from tests.projects import lint_files

HEAD = """
import json
import torch
from diffusers import FluxPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
"""
CONFIG = "    model.add_adapter(LoraConfig(r={r}, lora_alpha={alpha}))\n    train(model)\n"
SAVE = "    FluxPipeline.save_lora_weights(args.out, layers=get_peft_model_state_dict(model))\n"
FILTERED = (
    "    kept = {k: v for k, v in model.state_dict().items() if 'lora' in k}\n    save_file(kept, args.out)\n"
)
MAIN = "def main(args, model):\n"


def found(folder: Path, body: str) -> list[Confidence]:
    files = {"train.py": HEAD + MAIN + body}
    return [item.confidence for item in lint_files(folder, files, codes=["LS314"])]


def made(r: str = "args.rank", alpha: str = "args.lora_alpha") -> str:
    return CONFIG.format(r=r, alpha=alpha)


@pytest.mark.parametrize(
    ("body", "confidence"),
    [
        (made() + SAVE, "high"),
        (made("16", "32") + SAVE, "high"),
        (made("args.rank", "64") + SAVE, "high"),
        (made("args.rank", "2 * args.rank") + SAVE, "high"),
        ("    kinds = dict(r=args.rank, lora_alpha=args.alpha)\n    model.add_adapter(LoraConfig(**kinds))\n"
         + SAVE, "high"),
        (made() + "    pipe = FluxPipeline.from_pretrained('x')\n    pipe.save_lora_weights(args.out)\n",
         "high"),
        (made() + FILTERED, "medium"),
        ("    model.load_state_dict(torch.load(args.resume))\n" + made() + FILTERED, "medium"),
        (made() + "    torch.save(get_peft_model_state_dict(model), args.out)\n", "medium"),
        ("    insert_lora_layers(model, rank=args.rank, network_alpha=args.alpha)\n"
         "    state = model.state_dict()\n"
         "    save_file({k: state[k] for k in state.keys() if '_lora' in k}, args.out)\n", "medium"),
    ],
)  # fmt: skip
def test_found(body: str, confidence: Confidence, tmp_path: Path) -> None:
    assert found(tmp_path, body) == [confidence]


@pytest.mark.parametrize(
    "body",
    [
        made("args.rank", "args.rank") + SAVE,
        made("16", "16") + SAVE,
        made() + SAVE.replace("(model))", "(model), transformer_lora_adapter_metadata=args.meta)"),
        made() + SAVE.replace("(model))", "(model), **_collate_lora_metadata({'transformer': model}))"),
        # the strength makes up for what the file lost
        made() + SAVE + "    pipe = FluxPipeline.from_pretrained('x')\n"
        "    pipe.set_adapters(['a'], [args.lora_alpha / args.rank])\n",
        made() + "    factors = get_peft_model_state_dict(model)\n"
        "    factors['alpha'] = torch.tensor(args.lora_alpha)\n    torch.save(factors, args.out)\n",
        # settings are written beside the factors
        made() + FILTERED + "    json.dump(vars(args), open('settings.json', 'w'))\n",
        # a check of the file, by the same layers
        made() + FILTERED + "    model.load_state_dict(torch.load(args.out), strict=False)\n",
        # everything but the factors
        made() + FILTERED.replace("'lora' in k", "'lora' not in k"),
        made() + "    model.save_pretrained(args.out)\n",
    ],
)  # fmt: skip
def test_silent(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == []


def test_the_projects_own_exporter_is_not_judged(tmp_path: Path) -> None:
    source = (HEAD + MAIN + made() + SAVE).replace(
        "from diffusers import FluxPipeline", "from own import FluxPipeline"
    )
    assert lint_files(tmp_path, {"train.py": source}, codes=["LS314"]) == ()


MERGE = """
import torch

def merge(weights, path, out, alpha, rank):
    adapter = torch.load(path)
    for name in weights:
        up = adapter[f"base_model.model.{name}.lora_B.default.weight"]
        down = adapter[f"base_model.model.{name}.lora_A.default.weight"]
        weights[name] = weights[name] + SCALE(up @ down)
    torch.save(weights, out)

merge(torch.load("base.pt"), "lora.pt", "merged.pt", alpha=512, rank=256)
"""


@pytest.mark.parametrize(
    ("name", "scale", "confidences"),
    [
        ("merge.py", "(alpha / rank) * ", []),
        ("merge.py", "", ["medium"]),
        ("other/merge.py", "(alpha / rank) * ", ["medium"]),
    ],
)
def test_a_merge_beside_it_that_is_told_alpha_and_rank(
    name: str, scale: str, confidences: list[str], tmp_path: Path
) -> None:
    files = {"train.py": HEAD + MAIN + made() + FILTERED, name: MERGE.replace("SCALE", scale)}
    assert [item.confidence for item in lint_files(tmp_path, files, codes=["LS314"])] == confidences


def test_a_merge_that_is_told_does_not_excuse_an_export(tmp_path: Path) -> None:
    files = {"train.py": HEAD + MAIN + made() + SAVE, "merge.py": MERGE.replace("SCALE", "(alpha / rank) * ")}
    assert [item.confidence for item in lint_files(tmp_path, files, codes=["LS314"])] == ["high"]


LAYERS = """
import torch


class LoraLayer(torch.nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base, alpha / rank
        self.lora_a = torch.nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_b = torch.nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + (x @ self.lora_a.T @ self.lora_b.T) * self.scaling


def inject_lora(model, rank, alpha):
    model.head = LoraLayer(model.head, rank, alpha)
"""
TRAINS = """
import torch
from layers import inject_lora

RANK, ALPHA = 8, 32
inject_lora(model, RANK, ALPHA)
factors = {k: v for k, v in model.state_dict().items() if "lora" in k}
torch.save(factors, "factors.pt")
"""
READS = """
import torch
from layers import inject_lora

inject_lora(model, {rank}, {alpha})
{load}
"""
LOADS = 'model.load_state_dict(torch.load("factors.pt"), strict=False)'


@pytest.mark.parametrize(
    ("rank", "alpha", "load", "confidences"),
    [
        ("8", "32", LOADS, []),
        ("16", "64", LOADS, []),
        ("options.rank", "options.alpha", LOADS, []),
        ("8", "8", LOADS, ["medium"]),
        ("8", "32", "run(model)", ["medium"]),
    ],
)
def test_layers_that_another_script_makes_again(
    rank: str, alpha: str, load: str, confidences: list[Confidence], tmp_path: Path
) -> None:
    files = {
        "layers.py": LAYERS,
        "train.py": TRAINS,
        "use.py": READS.format(rank=rank, alpha=alpha, load=load),
    }
    assert [item.confidence for item in lint_files(tmp_path, files, codes=["LS314"])] == confidences


BESIDE = """
import torch
from layers import inject_lora


def prepare(model, options):
    inject_lora(model, 8, 32)
    return model


def save(model, path):
    torch.save({{k: v for k, v in model.state_dict().items() if "lora" in k}}, path)


def put(model, factors):
    model.load_state_dict(factors, strict=False)


def load(model, path):
    {make}
    factors = torch.load(path)
    {put}
"""


@pytest.mark.parametrize(
    ("make", "put", "confidences"),
    [
        ("pass", "put(model, factors)", []),
        ("pass", "model.load_state_dict(factors, strict=False)", []),
        ("pass", "print(len(factors))", ["medium"]),
        ("inject_lora(model, 8, 8)", "put(model, factors)", ["medium"]),
    ],
)
def test_functions_that_load_into_the_same_layers(
    make: str, put: str, confidences: list[Confidence], tmp_path: Path
) -> None:
    files = {"layers.py": LAYERS, "adapters.py": BESIDE.format(make=make, put=put)}
    assert [item.confidence for item in lint_files(tmp_path, files, codes=["LS314"])] == confidences
