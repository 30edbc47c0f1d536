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
        "        scale = float(alpha) / down.shape[0] if alpha else 1.0",
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


PAIRS = """
class LoRALoader:
    def apply(self, weights, lora_weights, alpha=None, strength=1.0, lora_alphas=None, entries=()):
        pairs = self.pairs(lora_weights)
        for name, pair in pairs.items():
            up_key, down_key = pair["up_key"], pair["down_key"]
            lora_up = lora_weights[up_key].to(weights[name].dtype)
            lora_down = lora_weights[down_key].to(weights[name].dtype)
            {scale}
            weights[name].data += torch.mm(lora_up, lora_down) * scale * strength
"""


@pytest.mark.parametrize(
    "scale",
    [
        'if pair["alpha"]:\n                scale = pair["alpha"] / lora_down.shape[0]\n'
        "            elif alpha is not None:\n                scale = alpha / lora_down.shape[0]\n"
        "            else:\n                scale = 1",
        'scale = pair["alpha"] / lora_down.shape[0] if pair["alpha"] else 1.0',
        'if not pair.get("alpha"):\n                scale = 1.0\n'
        '            else:\n                scale = pair.get("alpha") / lora_down.size(0)',
        "scale = lora_alphas[name] / lora_down.shape[0] if lora_alphas[name] else 1.0",
        "scale = 1.0\n            if lora_alphas.get(name):\n"
        "                scale = lora_alphas.get(name) / lora_down.shape[0]",
        "scale = pair.alpha / lora_down.shape[0] if pair.alpha else 1.0",
    ],
)
def test_the_truth_of_an_alpha_beside_a_table_of_keys(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, PAIRS.format(scale=scale)) == ["LS205"]


@pytest.mark.parametrize(
    "scale",
    [
        'if pair["alpha"] is not None:\n                scale = pair["alpha"] / lora_down.shape[0]\n'
        "            else:\n                scale = 1",
        'if pair["alpha"]:\n                scale = pair["alpha"] / lora_down.shape[0]\n'
        '            elif pair["alpha"] is None:\n                scale = 1.0\n'
        "            else:\n                scale = 0.0",
        'if pair["alpha"]:\n                scale = pair["alpha"] / lora_down.shape[0]\n'
        "            else:\n                scale = alpha / lora_down.shape[0]",
    ],
)
def test_what_tells_none_from_zero(scale: str, tmp_path: Path) -> None:
    assert codes(tmp_path, PAIRS.format(scale=scale)) == []
