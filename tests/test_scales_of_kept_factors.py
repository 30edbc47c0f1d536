"""What a loader multiplies onto one factor and keeps, or a helper onto the delta that it gives back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

KEPT = """\
def alpha_of(lora_sd, name):
    key = name.replace(".lora_down.weight", ".alpha")
    return float(lora_sd[key]) if key in lora_sd else float(lora_sd[name].shape[0])


def absorb(lora_sd):
    for name in [key for key in lora_sd if ".lora_down." in key]:
        alpha = alpha_of(lora_sd, name)
        rank = lora_sd[name].shape[0]
        lora_sd[name] = lora_sd[name] * ({scale})
    return lora_sd
"""
GIVEN = """\
def lora_delta(lora_up, lora_down, alpha, shape):
    rank = lora_down.shape[0]
    return (lora_up.flatten(1) @ lora_down.flatten(1)).reshape(shape) * ({scale})
"""
MERGED = """\
def merge(weights, lora_sd):
    for name in weights:
        up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
        alpha = lora_sd[name + ".alpha"]
        weights[name] += up @ down * ({scale})
"""
SPLIT = """\
def absorb(lora_sd, name):
    alpha = lora_sd[name + ".alpha"]
    lora_sd[name + ".lora_up.weight"] = lora_sd[name + ".lora_up.weight"] * alpha
    down = lora_sd[name + ".lora_down.weight"]
    lora_sd[name + ".lora_down.weight"] = down / down.shape[0]
"""
WRITTEN = """\
def absorb(lora_sd, name):
    alpha = lora_sd[name + ".alpha"]
    lora_sd[name + ".lora_up.weight"] = lora_sd[name + ".lora_up.weight"] * alpha
    lora_sd[name + ".alpha"] = 1.0
"""
BOTH = """

def add(loraA, loraB):
    return absorb(loraA), absorb(loraB)
"""
EACH = """\
def absorb(lora_sd, name):
    alpha, rank = lora_sd[name + ".alpha"], lora_sd[name + ".lora_down.weight"].shape[0]
    for side in (".lora_down.weight", ".lora_up.weight"):
        lora_sd[name + side] = lora_sd[name + side] * (alpha / rank) ** 0.5
"""
WHOLE = "alpha / rank"


def _codes(source: str, tmp_path: Path) -> set[str]:
    return {finding.code for finding in lint_files(tmp_path, {"lora.py": source})}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (KEPT.format(scale="alpha"), "LS107"),
        (KEPT.format(scale="alpha") + BOTH, "LS107"),
        (KEPT.format(scale="rank / alpha"), "LS111"),
        (KEPT.format(scale="1 / rank"), "LS121"),
        (GIVEN.format(scale="1 / rank"), "LS121"),
        (MERGED.format(scale="1 / down.shape[0]"), "LS121"),
    ],
)
def test_a_part_of_the_scale_is_found(source: str, code: str, tmp_path: Path) -> None:
    assert _codes(source, tmp_path) == {code}


@pytest.mark.parametrize(
    "source",
    [
        KEPT.format(scale=WHOLE),
        GIVEN.format(scale=WHOLE),
        MERGED.format(scale="alpha / down.shape[0]"),
        KEPT.format(scale=WHOLE) + BOTH,
        SPLIT,
        EACH,
        WRITTEN,
        GIVEN.format(scale="1 / rank").replace("alpha, shape", "shape"),
    ],
)
def test_the_whole_scale_in_one_piece_or_two_is_silent(source: str, tmp_path: Path) -> None:
    assert _codes(source, tmp_path) == set()
