"""What `map` says of published LoRA code, checked by hand against the code of these versions."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from lorascale_lint import cli

pytestmark = pytest.mark.network

RSLORA = "alpha / rank | alpha / sqrt(rank)"

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
        ("LoRALinear.fuse", "merge", "multiplier"),
        ("LoRALinear.__call__", "forward", "multiplier"),
    ],
    ("fastvideo==0.1.6", "fastvideo/layers/lora/linear.py"): [  # the merge has no scale: a bug
        ("BaseLayerWithLoRA.forward", "forward", "alpha / rank | 1"),
        ("BaseLayerWithLoRA.merge_lora_weights", "merge", "1"),
        ("BaseLayerWithLoRA.merge_lora_weights", "merge", "1"),
    ],
    ("fastvideo==0.2.1", "fastvideo/layers/lora/linear.py"): [
        # in training the factors are those of the constructor, and the strength is still 1
        (
            "BaseLayerWithLoRA.forward",
            "forward",
            "alpha / rank | alpha / rank * strength | 1 | strength",
        ),
        ("BaseLayerWithLoRA.merge_lora_weights", "merge", "alpha / rank * strength | strength"),
    ],
}


DIFFUSERS = "alpha / rank * multiplier | multiplier"
LYCORIS = "alpha / rank * gate{strength} | alpha / sqrt(rank) * gate{strength}"
# `forward` sets a strength that is None to 1
SET_TO_ONE = "alpha / rank | alpha / rank * multiplier | 1 | multiplier"

# Every application of some files, in their order; functions that belong to no class come last.
WHOLE: dict[tuple[str, tuple[str, ...]], list[tuple[str, str, str]]] = {
    (
        "diffusers==0.42.1",
        ("diffusers/models/lora.py",),
    ): [  # `lora_scale=1.0` and `scale=1.0` are the multiplier
        ("PatchedLoraProjection._fuse_lora", "merge", DIFFUSERS),
        # `w_up` has alpha / rank in it already, where there was an alpha
        ("PatchedLoraProjection._unfuse_lora", "unmerge", SET_TO_ONE),
        ("PatchedLoraProjection.forward", "forward", SET_TO_ONE),
        ("LoRACompatibleConv._fuse_lora", "merge", DIFFUSERS),
        ("LoRACompatibleConv._unfuse_lora", "unmerge", "alpha / rank * multiplier | multiplier"),
        ("LoRACompatibleConv.forward", "forward", DIFFUSERS),
        ("LoRACompatibleLinear._fuse_lora", "merge", DIFFUSERS),
        ("LoRACompatibleLinear._unfuse_lora", "unmerge", "alpha / rank * multiplier | multiplier"),
        ("LoRACompatibleLinear.forward", "forward", DIFFUSERS),
        ("PatchedLoraProjection._fuse_lora", "fold", "alpha / rank"),
        ("LoRACompatibleConv._fuse_lora", "fold", "alpha / rank"),
        ("LoRACompatibleLinear._fuse_lora", "fold", "alpha / rank"),
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
        ("LoConModule.bypass_forward", "forward", LYCORIS.format(strength=" * multiplier")),
    ],
    # `alpha=1.0` is only multiplied with: a strength, whatever its name
    ("diffsynth==1.1.9", ("diffsynth/lora/__init__.py",)): [
        ("GeneralLoRALoader.load", "merge", "multiplier")
    ],
    ("diffsynth==1.1.9", ("diffsynth/models/lora.py",)): [
        ("LoRAFromCivitai.load", "merge", "multiplier"),
        ("GeneralLoRAFromPeft.load", "merge", "multiplier"),
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
        # outputs of several layers weighted by a learned gate; the sum inside of the gate is none
        ("LoraMerger.forward", "forward", "unknown"),
        # by the keys of its convention: alpha / rank, half of it in each factor
        ("FluxLoRALoader.convert_state_dict", "fold", "sqrt(alpha) / sqrt(rank)"),
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


# Where the engine still falls short of what stands above, by package and file.
SHORT = {
    ("lycoris-lora==3.4.0", "lycoris/modules/locon.py"): "too many ways through the base class out of sight",
    ("lycoris-lora==3.4.0", "lycoris/modules/lokr.py"): "defaults of the constructor are taken as numbers",
    ("lycoris-lora==4.1.3", "lycoris/modules/locon.py"): "kernels chosen when it runs",
    ("diffsynth==1.1.9", "diffsynth/models/lora.py"): "an undivided `alpha` that is passed on",
    ("diffsynth==1.1.9", "diffsynth/vram_management/layers.py"): "a list that another file fills",
    ("diffsynth==2.1.12", "diffsynth/core/vram/layers.py"): "a list filled out of sight",
    ("diffsynth==2.1.12", "diffsynth/utils/lora/general.py"): "keys in a tuple of a dictionary by name",
}


def cases(table: Iterable[tuple[str, str | tuple[str, ...]]]) -> Iterator[ParameterSet]:
    """The cases of a table; those that fall short must fail, so that none is kept here when it holds."""
    for package, files in table:
        first = files if isinstance(files, str) else files[0]
        reason = SHORT.get((package, first))
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        yield pytest.param(package, files, id=f"{package}-{first}", marks=marks)


Applications = Callable[[str, tuple[str, ...]], list[tuple[str, str, str]]]


@pytest.fixture
def applications(
    published_wheel: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Applications:
    """A function that says what `map` says of ``files`` of a package, seen without its other files."""

    def seen(package: str, files: tuple[str, ...]) -> list[tuple[str, str, str]]:
        name, _, version = package.partition("==")
        with zipfile.ZipFile(published_wheel(name, version)) as archive:
            for file in files:
                archive.extract(file, tmp_path / "alone")
        assert cli.run(["map", "--output-format", "json", str(tmp_path / "alone")]) == 0
        return told(json.loads(capsys.readouterr().out))

    return seen


def told(record: Any) -> list[tuple[str, str, str]]:
    """Method or function, kind and scale of each application."""
    return [
        (item["method"], item["kind"], item["scale"])
        for implementation in record["implementations"]
        for item in implementation["applications"]
    ] + [(item["function"], item["kind"], item["scale"]) for item in record["functions"]]


@pytest.mark.parametrize(("package", "file"), cases(EXPECTED))
def test_map(package: str, file: str, applications: Applications) -> None:
    found = applications(package, (file,))
    missing = [row for row in EXPECTED[package, file] if row not in found]
    assert not missing, found


@pytest.mark.parametrize(("package", "files"), cases(WHOLE))
def test_map_of_whole_files(package: str, files: tuple[str, ...], applications: Applications) -> None:
    assert applications(package, files) == WHOLE[package, files]
