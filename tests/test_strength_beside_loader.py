"""LS507: strengths that are read or taken where a library loads the adapter, and that nobody gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

STYLES = """
from diffusers import DiffusionPipeline


class Styles:
    def __init__(self, name):
        self.pipeline = DiffusionPipeline.from_pretrained(name)

    def load_all(self, styles):
        for number, style in enumerate(styles):
            path = style["path"]
            lora_weight = {value}
            self.pipeline.load_lora_weights(path{name})
            {then}
"""
ASKED = 'style.get("weight", 0.8)'
NAMED = ', adapter_name=f"style_{number}"'


def found(folder: Path, source: str) -> list[tuple[str, str]]:
    files = {"styles.py": source}
    return [(item.code, item.confidence) for item in lint_files(folder, files, codes=["LS507"])]


@pytest.mark.parametrize(
    ("value", "name", "then", "expected"),
    [
        (ASKED, "", "pass", [("LS507", "high")]),
        (ASKED, NAMED, "print('loaded', path)", [("LS507", "high")]),
        ('float(style["lora_weight"])', "", "pass", [("LS507", "high")]),
        ("1.0", "", "pass", []),
        (ASKED, NAMED, 'self.pipeline.set_adapters(f"style_{number}", lora_weight)', []),
        (ASKED, "", "self.pipeline.fuse_lora(lora_scale=lora_weight)", []),
        (ASKED, "", "self.known[path] = lora_weight", []),
        (ASKED, "", "self.later(path, lora_weight)", []),
    ],
)
def test_strengths_that_are_read(
    value: str, name: str, then: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert found(tmp_path, STYLES.format(value=value, name=name, then=then)) == expected


SET_LATER = """
    def choose(self, name, strength):
        self.pipeline.set_adapters(name, adapter_weights=strength)
"""


def test_a_strength_that_another_method_may_set(tmp_path: Path) -> None:
    source = STYLES.format(value=ASKED, name=NAMED, then="pass") + SET_LATER
    assert found(tmp_path, source) == [("LS507", "medium")]


TAKEN = """
from diffusers import FluxPipeline


def load_style(pipe: FluxPipeline, path, strength=1.0):
    pipe.load_lora_weights(path)
    {then}
    return pipe


def draw(pipe, path, prompt, options):
    pipe = load_style(pipe, path{given})
    return pipe(prompt)
"""


@pytest.mark.parametrize(
    ("then", "given", "expected"),
    [
        ("pass", ", strength=options.strength", [("LS507", "high")]),
        ("pass", "", []),
        ("pipe.fuse_lora(lora_scale=strength)", ", strength=options.strength", []),
        ("pipe.strength = strength", ", strength=options.strength", []),
    ],
)
def test_strengths_that_are_taken(
    then: str, given: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert found(tmp_path, TAKEN.format(then=then, given=given)) == expected


def test_loaders_of_another_library(tmp_path: Path) -> None:
    source = STYLES.format(value=ASKED, name="", then="pass").replace("diffusers", "own_pipelines")
    assert found(tmp_path, source) == []
