"""Factors that the way from key to key tells: what is found wrong with their scale, and what is not."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.projects import lint_files
from tests.provenance.formulas import formulas_of

ITEMS_LOOP = """
def fuse(weights, adapter, settings):
    for key, a in adapter.items():
        if key.endswith("lora_A.weight"):
            b = adapter[key.replace("lora_A", "lora_B")]
            scale = settings["lora_alpha"] / settings["r"]
            name = key.replace("lora_A.", "")
            weights[name] = weights[name] + scale * (b @ a)
"""
KEYS_LOOP = """
import torch


def fuse(base, tensors, strength):
    for name in tensors.keys():
        if "lora_up" in name:
            second = tensors[name]
            first = tensors.pop(name.replace("lora_up", "lora_down"))
            r = first.shape[0]
            alpha = tensors.get(name.split(".lora_up")[0] + ".alpha", r)
            layer = base[name.split(".lora_up")[0]]
            layer.weight.data += strength * (alpha / r) * torch.mm(second, first)
"""


def codes_of(folder: Path, source: str) -> set[str]:
    return {finding.code for finding in lint_files(folder, {"fuse.py": dedent(source)})}


@pytest.mark.parametrize("source", [ITEMS_LOOP, KEYS_LOOP], ids=["items", "keys"])
def test_a_key_tells_what_its_partner_is(tmp_path: Path, source: str) -> None:
    assert formulas_of(source)[0].removesuffix(" * strength") == "alpha / rank"
    assert codes_of(tmp_path, source) == set()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('settings["lora_alpha"] / settings["r"]', 'settings["r"] / settings["lora_alpha"]', "LS111"),
        ('settings["lora_alpha"] / settings["r"]', 'settings["lora_alpha"] // settings["r"]', "LS204"),
        ("scale * (b @ a)", "scale * (b @ a) * scale", "LS106"),
        ("scale * (b @ a)", "b @ a", "LS108"),
    ],
)
def test_items_loop_broken(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert code in codes_of(tmp_path, ITEMS_LOOP.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("(alpha / r)", "(r / alpha)", "LS111"), ("(alpha / r)", "(alpha // r)", "LS204")],
)
def test_keys_loop_broken(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert code in codes_of(tmp_path, KEYS_LOOP.replace(old, new))


def test_a_value_that_is_either_factor_is_neither() -> None:
    source = """
    def split(adapter):
        lora_down, lora_up = {}, {}
        for key, value in adapter.items():
            if "lora_A" in key:
                lora_down[key] = value
            elif "lora_B" in key:
                lora_up[key] = value @ value
    """
    assert formulas_of(source) == []


def test_a_lookup_outside_the_condition_of_its_partner_is_not_known() -> None:
    source = """
    def copy(adapter, weights, x):
        for key in adapter:
            plain = adapter[key]
            if "lora_A" in key:
                up = adapter[key.replace("lora_A", "lora_B")]
                continue
            weights[key] = weights[key] + x @ plain
    """
    assert formulas_of(source) == []


def test_the_rank_of_a_file_without_an_alpha_is_no_configuration(tmp_path: Path) -> None:
    source = """
    def area(table, lora_A, lora_B):
        return table["r"] * 3
    """
    assert codes_of(tmp_path, source) == set()
