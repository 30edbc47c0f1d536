"""What `map` says of published LoRA code, checked by hand against the code of these versions."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

RSLORA = "alpha / sqrt(rank) | alpha / rank"

# Method, kind of application and effective scale, in the order of rows.
EXPECTED: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    ("peft==0.21.2", "peft/tuners/lora/layer.py"): [
        ("Linear.merge", "merge", RSLORA),
        ("Linear.merge", "merge", RSLORA),
        ("Linear.unmerge", "unmerge", RSLORA),
        ("Linear.forward", "forward", RSLORA),
        ("_ConvNd.merge", "merge", RSLORA),
        ("_ConvNd.merge", "merge", RSLORA),
        ("_ConvNd.unmerge", "unmerge", RSLORA),
        ("_ConvNd.forward", "forward", RSLORA),
    ],
    ("litgpt==0.5.13", "litgpt/lora.py"): [
        ("LoRALinear.merge", "merge", "alpha / rank"),
        ("LoRALinear.merge", "merge", "alpha / rank"),
        ("LoRALinear.forward", "forward", "alpha / rank"),
    ],
    ("loralib==0.1.2", "loralib/layers.py"): [
        ("Embedding.train", "unmerge", "alpha / rank"),
        ("Embedding.train", "merge", "alpha / rank"),
        ("Embedding.forward", "forward", "alpha / rank"),
        ("Linear.train", "unmerge", "alpha / rank"),
        ("Linear.train", "merge", "alpha / rank"),
        ("Linear.forward", "forward", "alpha / rank"),
    ],
    ("torchtune==0.6.1", "torchtune/modules/peft/lora.py"): [
        ("LoRALinear.forward", "forward", "alpha / rank"),
        ("QATLoRALinear.forward", "forward", "alpha / rank"),
    ],
    ("mlx-lm==0.32.2", "mlx_lm/tuner/lora.py"): [  # its `scale` is a number that the person gives
        ("LoRALinear.fuse", "merge", "scaling"),
        ("LoRALinear.__call__", "forward", "scaling"),
    ],
    ("fastvideo==0.1.6", "fastvideo/layers/lora/linear.py"): [  # the merge has no scale: a bug
        ("BaseLayerWithLoRA.forward", "forward", "alpha / rank if self.lora_alpha != self.lora_rank else 1"),
        ("BaseLayerWithLoRA.merge_lora_weights", "merge", "1"),
        ("BaseLayerWithLoRA.merge_lora_weights", "merge", "1"),
    ],
    ("fastvideo==0.2.1", "fastvideo/layers/lora/linear.py"): [
        (
            "BaseLayerWithLoRA.forward",
            "forward",
            "alpha / rank * strength if self.lora_alpha != self.lora_rank else strength",
        ),
        (
            "BaseLayerWithLoRA.merge_lora_weights",
            "merge",
            "alpha / rank * strength if self.lora_alpha and self.lora_rank else strength",
        ),
    ],
}


@pytest.mark.parametrize(("package", "file"), EXPECTED, ids=lambda value: str(value))
def test_map(package: str, file: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(tmp_path), package]
    subprocess.run([*command, *options], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(file, tmp_path / "alone")
    path = tmp_path / "alone" / file
    linter = [sys.executable, "-m", "lorascale_lint", "map", "--output-format", "json", str(path)]
    run = subprocess.run(linter, check=True, capture_output=True, timeout=300)
    found = [
        (item["method"], item["kind"], item["scale"])
        for implementation in json.loads(run.stdout)["implementations"]
        for item in implementation["applications"]
    ]
    missing = [row for row in EXPECTED[package, file] if row not in found]
    assert not missing, found
