"""LS506: strengths of pipelines whose adapters are in the weights already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

DRAW = """
from diffusers import FluxPipeline


def draw(path, strength, strengths, prompt, other):
    pipe = FluxPipeline.from_pretrained("base")
    pipe.load_lora_weights(path, adapter_name="style")
    {steps}
"""
SCALED = 'joint_attention_kwargs={"scale": strength}'
WORKER = """
from diffusers import FluxPipeline


class Worker:
    def __init__(self, path):
        self.pipe = FluxPipeline.from_pretrained("base")
        self.pipe.load_lora_weights(path)
        {fuse}

    def draw(self, prompt, strength):
        options = {{"num_inference_steps": 4}}
        if strength is not None:
            options["joint_attention_kwargs"] = {{"scale": strength}}
        return self.pipe(prompt, **options)


def main(path, prompt, strength):
    return Worker(path).draw(prompt, strength)
"""


def rows(folder: Path, source: str) -> list[int]:
    found = lint_files(folder, {"draw_lora.py": source}, codes=["LS506"])
    assert all(item.confidence == "high" for item in found)
    return [item.span.start.row for item in found]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (f"pipe.fuse_lora(); pipe(prompt, {SCALED})", 1),
        ("pipe.fuse_lora(lora_scale=0.5); pipe.set_adapters(['style'], adapter_weights=[strength])", 1),
        ("for one in strengths: pipe.fuse_lora(lora_scale=one); pipe(prompt)", 1),
        (f"pipe.fuse_lora(lora_scale=strength); pipe(prompt, {SCALED})", 0),
        (f"pipe.fuse_lora(); pipe.unfuse_lora(); pipe(prompt, {SCALED})", 0),
        (f"pipe.fuse_lora(); pipe.load_lora_weights(other); pipe(prompt, {SCALED})", 0),
        (f"pipe.fuse_lora(adapter_names=['fast']); pipe(prompt, {SCALED})", 0),
        ("pipe.fuse_lora(); pipe(prompt, joint_attention_kwargs={'scale': 1.0})", 0),
        ("pipe.set_adapters(['style'], adapter_weights=[strength]); pipe.fuse_lora()", 0),
        ("for one in strengths: pipe.fuse_lora(lora_scale=one); pipe(prompt); pipe.unfuse_lora()", 0),
        (f'pipe.fuse_lora(); pipe = FluxPipeline.from_pretrained("other"); pipe(prompt, {SCALED})', 0),
        (f"if other: pipe.fuse_lora()\n    if not other: pipe(prompt, {SCALED})", 0),
    ],
)
def test_steps_of_one_function(steps: str, expected: int, tmp_path: Path) -> None:
    assert len(rows(tmp_path, DRAW.format(steps=steps))) == expected


@pytest.mark.parametrize(("fuse", "expected"), [("self.pipe.fuse_lora()", [14]), ("pass", [])])
def test_methods_of_one_object(fuse: str, expected: list[int], tmp_path: Path) -> None:
    assert rows(tmp_path, WORKER.format(fuse=fuse)) == expected
