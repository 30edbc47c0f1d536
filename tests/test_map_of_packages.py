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


DIFFUSERS = "alpha / rank * multiplier if self{layer}.network_alpha is not None else multiplier"
LYCORIS = "alpha / sqrt(rank) * gate{strength} | alpha / rank * gate{strength}"

# Every application of some files, in their order; functions that belong to no class come last.
WHOLE: dict[tuple[str, tuple[str, ...]], list[tuple[str, str, str]]] = {
    (
        "diffusers==0.42.1",
        ("diffusers/models/lora.py",),
    ): [  # `lora_scale=1.0` and `scale=1.0` are the multiplier
        ("PatchedLoraProjection._fuse_lora", "merge", DIFFUSERS.format(layer=".lora_linear_layer")),
        # `w_up` has alpha / rank in it already, where there was an alpha
        ("PatchedLoraProjection._unfuse_lora", "unmerge", "alpha / rank * multiplier | multiplier"),
        ("PatchedLoraProjection.forward", "forward", DIFFUSERS.format(layer="")),
        ("LoRACompatibleConv._fuse_lora", "merge", DIFFUSERS.format(layer=".lora_layer")),
        ("LoRACompatibleConv._unfuse_lora", "unmerge", "alpha / rank * multiplier | multiplier"),
        ("LoRACompatibleConv.forward", "forward", DIFFUSERS.format(layer="")),
        ("LoRACompatibleLinear._fuse_lora", "merge", DIFFUSERS.format(layer=".lora_layer")),
        ("LoRACompatibleLinear._unfuse_lora", "unmerge", "alpha / rank * multiplier | multiplier"),
        ("LoRACompatibleLinear.forward", "forward", DIFFUSERS.format(layer="")),
    ],
    ("lycoris-lora==3.4.0", ("lycoris/modules/locon.py",)): [  # `self.scalar` is the gate
        ("LoConModule.get_merged_weight", "merge", LYCORIS.format(strength="")),  # with DoRA
        ("LoConModule.get_merged_weight", "merge", LYCORIS.format(strength=" * strength")),
        ("LoConModule.bypass_forward", "forward", LYCORIS.format(strength=" * multiplier")),
        ("LoConModule.forward", "merge", LYCORIS.format(strength="")),  # with DoRA
        ("LoConModule.forward", "merge", LYCORIS.format(strength=" * strength")),
    ],
    # max norm rescales the factors of LoKr in place
    ("lycoris-lora==3.4.0", ("lycoris/modules/lokr.py", "lycoris/functional/lokr.py")): [
        ("LokrModule.get_merged_weight", "merge", "unknown"),
        ("LokrModule.get_merged_weight", "merge", "unknown"),
        ("LokrModule.forward", "merge", "unknown"),
        ("LokrModule.forward", "merge", "unknown"),
        ("LokrModule.forward", "merge", "unknown"),
    ],
    # the rest of this version is computed by kernels that are chosen when it runs
    ("lycoris-lora==4.1.3", ("lycoris/modules/locon.py",)): [
        (
            "LoConModule.bypass_forward",
            "forward",
            " | ".join(
                f"alpha / {rank} * gate * multiplier if self.rank_dropout and self.training"
                for rank in ("sqrt(rank)", "rank")
            ),
        ),
    ],
    # `alpha=1.0` is only multiplied with: a strength, whatever its name
    ("diffsynth==1.1.9", ("diffsynth/lora/__init__.py",)): [
        ("GeneralLoRALoader.load", "merge", "multiplier")
    ],
    ("diffsynth==1.1.9", ("diffsynth/models/lora.py",)): [
        ("GeneralLoRAFromPeft.load", "merge", "multiplier")
    ],
    ("diffsynth==1.1.9", ("diffsynth/vram_management/layers.py", "diffsynth/pipelines/qwen_image.py")): [
        ("AutoWrappedLinear.forward", "forward", "multiplier"),  # as `load_lora` of the pipeline appends A
    ],
    ("diffsynth==2.1.12", ("diffsynth/core/vram/layers.py",)): [
        ("LoRAHotLoadMixin.lora_forward", "forward", "unknown"),  # what is appended is not in this file
    ],
    ("diffsynth==2.1.12", ("diffsynth/utils/lora/general.py",)): [  # the converter folds the alpha of a file
        (
            "GeneralLoRALoader.fuse_lora_to_base_model",
            "merge",
            "alpha / rank * multiplier | multiplier",
        ),
    ],
    ("diffsynth==2.1.12", ("diffsynth/models/flux_lora_patcher.py",)): [
        ("GeneralLoRALoader.load", "merge", "multiplier"),
    ],
    # LongCat-Video's own code, for which there is no package; `alpha_scale` is alpha / rank
    ("diffsynth==2.1.12", ("diffsynth/models/longcat_video_dit.py",)): [
        (
            "LongCatVideoTransformer3DModel._create_multi_lora_forward.multi_lora_forward",
            "forward",
            "scaling * strength",
        ),
    ],
}


def applications(package: str, files: tuple[str, ...], folder: Path) -> list[tuple[str, str, str]]:
    """What `map` says of ``files`` of a package, seen without its other files."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), package]
    subprocess.run([*command, *options], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for file in files:
            archive.extract(file, folder / "alone")
    linter = [sys.executable, "-m", "lorascale_lint", "map", "--output-format", "json"]
    run = subprocess.run([*linter, str(folder / "alone")], check=True, capture_output=True, timeout=300)
    record = json.loads(run.stdout)
    return [
        (item["method"], item["kind"], item["scale"])
        for implementation in record["implementations"]
        for item in implementation["applications"]
    ] + [(item["function"], item["kind"], item["scale"]) for item in record["functions"]]


@pytest.mark.parametrize(("package", "file"), EXPECTED, ids=lambda value: str(value))
def test_map(package: str, file: str, tmp_path: Path) -> None:
    found = applications(package, (file,), tmp_path)
    missing = [row for row in EXPECTED[package, file] if row not in found]
    assert not missing, found


@pytest.mark.parametrize(("package", "files"), WHOLE, ids=lambda value: str(value))
def test_map_of_whole_files(package: str, files: tuple[str, ...], tmp_path: Path) -> None:
    assert applications(package, files, tmp_path) == WHOLE[package, files]
