"""LS204 and LS205 on an alpha that is looked up in an adapter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

HEAD = "import torch\nfrom safetensors.torch import load_file\n\n\n"


def codes(folder: Path, source: str) -> list[str]:
    """Codes found in one file."""
    path = folder / "merge_lora.py"
    path.write_text(HEAD + source)
    return [finding.code for finding in lint([path], [], codes=["LS204", "LS205"]).findings]


MERGE = """
def merge_lora(weights, path, strength):
    lora = load_file(path)
    for name in weights:
        up, down = lora[name + ".lora_up.weight"], lora[name + ".lora_down.weight"]
        {scale}
        weights[name] = weights[name] + strength * scale * (up @ down)
"""


@pytest.mark.parametrize(
    "scale",
    [
        'alpha = lora.get(name + ".alpha")\n        scale = alpha / down.shape[0] if alpha else 1.0',
        'alpha = lora.get(f"{name}.alpha", None)\n'
        "        scale = (float(alpha) if alpha else float(down.shape[0])) / down.shape[0]",
        'pair = {"alpha": lora.get(name + ".alpha")}\n'
        '        scale = pair["alpha"] / down.shape[0] if pair["alpha"] else 1',
    ],
)
def test_zero_is_taken_for_a_missing_alpha(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, MERGE.format(scale=scale)) == ["LS205"]


@pytest.mark.parametrize(
    "scale",
    [
        'alpha = lora.get(name + ".alpha")\n'
        "        scale = alpha / down.shape[0] if alpha is not None else 1.0",
        'scale = lora[name + ".alpha"] / down.shape[0] if name + ".alpha" in lora else 1.0',
        'alpha = lora.get(name + ".alpha", down.shape[0])\n        scale = alpha / down.shape[0]',
    ],
)
def test_a_test_for_presence_is_right(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, MERGE.format(scale=scale)) == []


def test_an_integer_of_the_tensor_is_truncated(tmp_path: Path) -> None:
    source = (
        'def lora_scale(path):\n    lora = load_file(path)\n    alpha = int(lora["a.alpha"])\n'
        '    return alpha / lora["a.lora_down.weight"].shape[0]\n'
    )
    assert codes(tmp_path, source) == ["LS204"]
    assert codes(tmp_path, source.replace("int(", "float(")) == []


def test_an_integer_of_a_count_is_no_alpha(tmp_path: Path) -> None:
    assert codes(tmp_path, 'lora = load_file("a.safetensors")\nepoch = int(lora["epoch"])\n') == []
