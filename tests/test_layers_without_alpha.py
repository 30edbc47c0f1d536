"""LS301 for layers that keep no alpha, and what the repairs of several rules make of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.projects import fix_files, lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_A = None
        self.lora_B = None

    def set_lora_weights(self, A, B):
        self.lora_A = A
        self.lora_B = B
        self.merge()

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""
LOADER = """\
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

if TYPE_CHECKING:
    from layer import LoRALinear


class LoRAPipeline:
    def __init__(self, layers):
        self.layers = layers
        self.lora_adapters = defaultdict(dict)

    def load_adapter(self, nickname, path):
        self.lora_adapters[nickname] = {}
        tensors = load_file(path)
        for name, weight in tensors.items():
            name = ".".join(name.split(".")[1:-1])  # without prefix and suffix
            self.lora_adapters[nickname][name] = weight
        for name, layer in self.layers.items():
            layer.set_lora_weights(
                self.lora_adapters[nickname][name + ".lora_A"],
                self.lora_adapters[nickname][name + ".lora_B"],
            )
"""
FILES = {"layer.py": LAYER, "pipeline.py": LOADER}


def test_medium_confidence(tmp_path: Path) -> None:
    """Nothing says that the files state an alpha."""
    (finding,) = lint_files(tmp_path, FILES)
    assert (finding.code, finding.confidence) == ("LS301", "medium")
    assert finding.fix is not None
    assert finding.fix.applicability == "safe"


@pytest.mark.parametrize("suffix", ["lora_alpha", "alpha", None])
@pytest.mark.parametrize("slice_", ["[1:-1]", "[:-1]"])
def test_the_repaired_layer_has_the_scale_of_each_file(
    slice_: str, suffix: str | None, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    import torch
    from safetensors.torch import save_file

    files = {**FILES, "pipeline.py": LOADER.replace("[1:-1]", slice_)}
    (tmp_path / "source").mkdir()
    texts, left = fix_files(tmp_path / "source", files)
    assert left == ()
    layer_module: dict[str, Any] = {}
    pipeline_module: dict[str, Any] = {}
    exec(compile(texts["layer.py"], "layer.py", "exec"), layer_module)
    exec(compile(texts["pipeline.py"], "pipeline.py", "exec"), pipeline_module)
    rng = np.random.default_rng(2)
    prefix = "model." if slice_ == "[1:-1]" else ""
    deltas = []
    for number, alpha in enumerate([6.0, None if suffix is None else 0.5]):
        factors = [torch.tensor(rng.normal(size=size)) for size in ((4, 6), (5, 4))]
        tensors = {
            f"{prefix}blocks.q.lora_{side}.weight": factor for side, factor in zip("AB", factors, strict=True)
        }
        if alpha is not None:
            tensors[f"{prefix}blocks.q.{suffix or 'alpha'}"] = torch.tensor(alpha)
        save_file(tensors, tmp_path / f"{number}.safetensors")
        scale = 1.0 if alpha is None else alpha / 4
        deltas.append(scale * (factors[1] @ factors[0]).numpy())
    weight = torch.zeros((5, 6), dtype=torch.float64)
    layer = layer_module["LoRALinear"](SimpleNamespace(weight=SimpleNamespace(data=weight)))
    pipeline = pipeline_module["LoRAPipeline"]({"blocks.q": layer})
    for number in range(2):
        pipeline.load_adapter(f"adapter {number}", str(tmp_path / f"{number}.safetensors"))
        assert np.allclose(layer.base_layer.weight.data.numpy(), sum(deltas[: number + 1]))


NOT_REPAIRED = {
    "a loader that keeps factors only": {
        **FILES,
        "pipeline.py": LOADER.replace(
            "            self.lora_adapters[nickname][name] = weight\n",
            "            if name.endswith(('lora_A', 'lora_B')):\n"
            "                self.lora_adapters[nickname][name] = weight\n",
        ),
    },
    "two loaders": {**FILES, "other.py": LOADER},
    "a setter of a subclass": {
        **FILES,
        "layer.py": LAYER + "\n\nclass Other(LoRALinear):\n"
        "    def set_lora_weights(self, A, B):\n        super().set_lora_weights(A, B)\n",
    },
    "factors that no constructor sets": {
        **FILES,
        "layer.py": LAYER.replace("        self.lora_A = None\n        self.lora_B = None\n", ""),
    },
}


@pytest.mark.parametrize("name", NOT_REPAIRED)
def test_not_repaired_where_a_repair_could_not_go_on(name: str, tmp_path: Path) -> None:
    """Half a repair would keep an alpha that nothing gives."""
    found = lint_files(tmp_path, NOT_REPAIRED[name])
    assert {finding.code for finding in found} <= {"LS301"}
    assert {finding.fix for finding in found} <= {None}


SILENT = {
    "scaled by the caller": {**FILES, "layer.py": LAYER.replace("+= self", "+= self.strength * self")},
    "no file is read": {**FILES, "pipeline.py": LOADER.replace("load_file(path)", "path.tensors")},
    "alpha is read": {
        **FILES,
        "pipeline.py": LOADER.replace(
            "            self.lora_adapters",
            "            tensors.get('alpha')\n            self.lora_adapters",
            1,
        ),
    },
    "a scale that the setter takes": {**FILES, "layer.py": LAYER.replace("A, B)", "A, B, scale=1.0)")},
}


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert SILENT[name] != FILES
    assert lint_files(tmp_path, SILENT[name]) == ()


ENTRIES = """
from peft import LoraConfig


class Lora:
    def load(self, path, name):
        config = LoraConfig.from_pretrained(path)
        self.rank = config.r
        {more}
        for key, value in load_file(path).items():
            if key.endswith(name + ".lora_A.weight"):
                self.lora_A = value.T
            elif key.endswith(name + ".lora_B.weight"):
                self.lora_B = value.T.contiguous()

    def apply(self, x, out):
        return out + x @ self.lora_A @ self.lora_B{scale}
"""


@pytest.mark.parametrize(
    ("more", "scale", "expected"),
    [
        ("pass", "", ["LS102"]),
        ("self.patterns = config.rank_pattern", "", ["LS102"]),
        ("self.scale = config.lora_alpha / config.r", " * self.scale", []),
    ],
)
def test_factors_found_in_a_loop_over_a_file(
    more: str, scale: str, expected: list[str], tmp_path: Path
) -> None:
    source = ENTRIES.format(more=more, scale=scale)
    findings = lint_files(tmp_path, {"lora.py": source}, codes=["LS101", "LS102"])
    assert [finding.code for finding in findings] == expected
