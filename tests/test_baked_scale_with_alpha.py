"""LS317: factors that hold the scale, and alpha beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

EXPORT = """
import torch


def export(state_dict, names, config):
    alpha, rank = config["lora_alpha"], config["r"]
    out = {{}}
    for name in names:
        up, down = state_dict[f"{{name}}.lora_B.weight"], state_dict[f"{{name}}.lora_A.weight"]
        {body}
    return out
"""
UP = 'out[f"{name}.lora_up.weight"] = '
DOWN = 'out[f"{name}.lora_down.weight"] = '
ALPHA = 'out[f"{name}.alpha"] = '


def found(folder: Path, source: str) -> list[tuple[str, str]]:
    return [(f.code, f.confidence) for f in lint_files(folder, {"lora.py": source}, codes={"LS317"})]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ((UP + "up * (alpha / rank)", DOWN + "down", ALPHA + "torch.tensor(alpha)"), 1),
        ((UP + "up", DOWN + "(down * alpha / rank).half()", ALPHA + "torch.tensor(float(alpha))"), 1),
        ((UP + "up * alpha / rank**0.5", DOWN + "down", ALPHA + "torch.tensor(alpha)"), 1),
        ((UP + "up * (alpha / rank)", DOWN + "down", ALPHA + "torch.tensor(float(rank))"), 0),
        ((UP + "up * (alpha / rank)", DOWN + "down"), 0),
        ((UP + "up", DOWN + "down", ALPHA + "torch.tensor(alpha)"), 0),
        ((UP + "up * (alpha / 16)", DOWN + "down", ALPHA + "torch.tensor(16.0)"), 0),
        ((UP + "up * 0.5", DOWN + "down", ALPHA + "torch.tensor(alpha)"), 0),
        ((UP + "up * alpha / rank", DOWN + "down", 'out["ss_network_alpha"] = str(alpha)'), 0),
    ],
)
def test_one_pair_and_its_alpha(lines: tuple[str, ...], count: int, tmp_path: Path) -> None:
    source = EXPORT.format(body="\n        ".join(lines))
    assert found(tmp_path, source) == [("LS317", "high")] * count


JOINED = """
import torch


def join(loaded, weights, keys):
    result = {{}}
    for key in keys:
        if key.endswith("lora_A.weight"):
            parts = [sd[key] * (w * cfg["lora_alpha"] / cfg["r"]) for (cfg, sd), w in zip(loaded, weights)]
            result[key] = torch.cat(parts, dim=0)
        elif key.endswith("lora_B.weight"):
            result[key] = torch.cat([sd[key] for _, sd in loaded], dim=1)
    config = dict(loaded[0][0])
    config["r"] = sum(cfg["r"] for cfg, _ in loaded)
    config["lora_alpha"] = {alpha}
    return result, config
"""


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        ('loaded[0][0]["lora_alpha"]', [("LS317", "medium")]),
        ('config["r"]', []),
        ('sum(cfg["r"] for cfg, _ in loaded)', []),
    ],
)
def test_joined_factors_and_the_alpha_of_one_of_them(
    alpha: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert found(tmp_path, JOINED.format(alpha=alpha)) == expected
