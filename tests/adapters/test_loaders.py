"""What loaders make of a file, from the table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.knowledge.conventions import CONVENTIONS
from lorascale_lint.knowledge.loaders import LOADERS, loader_named
from lorascale_lint.knowledge.reading import Unsaid
from tests.adapters.layouts import FLAT, NAMES, Tensors, pair, peft_pair, write, zeros
from tests.adapters.test_conventions import HADA, longcat, lycoris, mlx

FAST = {alpha: pair(NAMES, 8, "lora_A", "lora_B", alpha, "lora_alpha") for alpha in (0.5, 2.4, 4)}
LYCORIS = tuple(name.replace("lora_unet_", "lycoris_") for name in FLAT)
PEFT = tuple("base_model.model." + name for name in NAMES)
BFL = ("diffusion_model.double_blocks.0.img_attn.proj",)
COMFY = tuple("diffusion_model." + name for name in NAMES)
WAN = tuple(f"blocks.{block}.self_attn.{name}" for block in range(2) for name in ("q", "v"))
QWEN = tuple(f"transformer_blocks.{block}.attn.to_q" for block in range(2))


def predicted(path: Path) -> dict[str, Prediction]:
    return {item.loader.key: item for item in inspect_file(path).predictions}


def config(**settings: Any) -> dict[str, Any]:
    return {"peft_type": "LORA", "r": 8, "lora_alpha": 4, **settings}


@pytest.mark.parametrize(
    ("loader", "tensors", "settings", "outcome", "scale", "argument"),
    [
        ("diffsynth-1", pair(NAMES, 32, "lora_A.default.weight", "lora_B.default.weight"), None,
         Outcome.RIGHT_IF_RANK, 1, "alpha=1.0"),
        ("diffsynth-1", peft_pair(COMFY, 8, 4), None, Outcome.WRONG, 1, "alpha=0.5"),
        ("diffsynth-2", peft_pair(COMFY, 8, 4), None, Outcome.RIGHT, 0.5, "alpha=1.0"),
        ("diffsynth-2", pair(NAMES, 8, alpha=4), None, Outcome.RIGHT, 0.5, "alpha=1.0"),
        ("fastvideo-0.1.6", FAST[4], None, Outcome.WRONG, 1, ""),
        ("fastvideo-0.1.7", pair(NAMES, 8, "lora_A", "lora_B", 8, "lora_alpha"), None, Outcome.RIGHT, 1, ""),
        ("fastvideo-0.1.7", FAST[0.5], None, Outcome.WRONG, 1, ""),
        ("fastvideo-0.1.7", peft_pair(COMFY, 8, 4), None, Outcome.WRONG, 1, ""),
        ("fastvideo-0.2.1", peft_pair(COMFY, 8, 8), None, Outcome.RIGHT, 1, "strength=1.0"),
        ("comfyui", pair(FLAT, 8, alpha=4), None, Outcome.RIGHT, 0.5, "strength_model=1.0"),
        ("comfyui", peft_pair(COMFY, 8), None, Outcome.RIGHT_IF_RANK, 1, "strength_model=1.0"),
        ("a1111", pair(NAMES, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("a1111", peft_pair(COMFY, 8, 4), None, Outcome.NOTHING, 0, ""),
        ("a1111", pair(LYCORIS, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("a1111", lycoris(FLAT, **HADA), None, Outcome.RIGHT, 0.5, "<lora:NAME:1.0>"),
        ("forge", pair(LYCORIS, 8, alpha=4), None, Outcome.RIGHT, 0.5, "<lora:NAME:1.0>"),
        ("forge", peft_pair(BFL, 8, 4), None, Outcome.RIGHT, 0.5, "<lora:NAME:1.0>"),
        ("forge", pair(FLAT, 8, alpha=0.25, alpha_key="scale"), None, Outcome.WRONG, 1, "<lora:NAME:0.25>"),
        ("forge", peft_pair(PEFT, 8), config(), Outcome.NOTHING, 0, ""),
        ("forge", pair(NAMES, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("videox-fun", peft_pair(COMFY, 8, 4), None, Outcome.RIGHT, 0.5, "multiplier=1.0"),
        ("videox-fun", pair(NAMES, 8, "lora_A.default.weight", "lora_B.default.weight", 4), None,
         Outcome.RIGHT, 0.5, "multiplier=1.0"),
        ("videox-fun", FAST[4], None, Outcome.REFUSED, None, ""),
        ("videox-fun", peft_pair(PEFT, 8), config(), Outcome.NOTHING, 0, ""),
        ("videox-fun", pair(FLAT, 8, alpha=0.25, alpha_key="scale"), None, Outcome.REFUSED, None, ""),
        ("videox-fun", lycoris(FLAT, **HADA), None, Outcome.REFUSED, None, ""),
        ("diffsynth-1", pair(NAMES, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("diffsynth-2", pair(FLAT, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("fastvideo-0.2.1", pair(FLAT, 8, alpha=4), None, Outcome.NOTHING, 0, ""),
        ("fastvideo-0.1.7", pair(NAMES, 8, "lora_A.default.weight", "lora_B.default.weight", 4), None,
         Outcome.NOTHING, 0, ""),
        ("lycoris", peft_pair(NAMES, 8, 4), None, Outcome.NOTHING, 0, ""),
        ("lycoris", peft_pair(PEFT, 8), config(), Outcome.NOTHING, 0, ""),
        ("fastvideo-0.2.1", peft_pair(NAMES, 8), config(), Outcome.WRONG, 1, "strength=0.5"),
        ("sd-scripts", pair(FLAT, 8, alpha=4), None, Outcome.RIGHT, 0.5, "multiplier=1.0"),
        ("sd-scripts", pair(FLAT, 8, alpha=0), None, Outcome.RIGHT_IF_RANK, 1, "multiplier=1.0"),
        ("comfyui", pair(FLAT, 8, alpha=0), None, Outcome.WRONG, 0, ""),
        ("sd-scripts", lycoris(FLAT, **HADA), None, Outcome.NOTHING, 0, ""),
        ("lycoris", lycoris(FLAT, **HADA), None, Outcome.WRONG, 0.25, "multiplier=2"),
        ("a1111", pair(FLAT, 8, alpha=0.25, alpha_key="scale"), None, Outcome.RIGHT, 0.25, "<lora:NAME:1.0>"),
        ("peft", peft_pair(PEFT, 8), config(use_rslora=True), Outcome.RIGHT, 4 / math.sqrt(8),
         "scale_layer(1.0)"),
        ("vllm", peft_pair(PEFT, 8), config(use_rslora=True), Outcome.RIGHT, 4 / math.sqrt(8), ""),
        ("sglang", peft_pair(PEFT, 8), config(use_rslora=True), Outcome.WRONG, 0.5, ""),
        ("llama.cpp", peft_pair(PEFT, 8), config(use_rslora=True), Outcome.WRONG, 0.5,
         f"--lora-scaled FILE:{math.sqrt(8):.6g}"),
        ("vllm", peft_pair(PEFT, 8), config(alpha_pattern={"to_q": 8, "to_v": 8}), Outcome.WRONG, 0.5, ""),
        ("vllm", peft_pair(PEFT, 8), {"peft_type": "LORA", "r": 8}, Outcome.REFUSED, None, ""),
        ("peft", peft_pair(PEFT, 8), {"peft_type": "LORA", "r": 8}, Outcome.RIGHT, 1, "scale_layer(1.0)"),
        ("invokeai", peft_pair(WAN, 8, 4), None, Outcome.RIGHT, 0.5, "weight=1.0"),
        ("invokeai", pair(WAN, 8, "lora_A", "lora_B", 4), None, Outcome.REFUSED, None, ""),
        ("invokeai", peft_pair(QWEN, 8, 4), None, Outcome.WRONG, 1, "weight=0.5"),
        ("invokeai", pair(QWEN, 8, alpha=4), None, Outcome.RIGHT, 0.5, "weight=1.0"),
        ("sglang-diffusion", peft_pair(PEFT, 8), config(use_rslora=True), Outcome.RIGHT, 4 / math.sqrt(8),
         "strength=1.0"),
        ("sglang-diffusion", peft_pair(NAMES, 8, 2.4), None, Outcome.WRONG, 0.25, "strength=1.2"),
        ("sglang-diffusion", FAST[4], None, Outcome.WRONG, 1, "strength=0.5"),
        ("vllm-omni", pair(COMFY, 8, alpha=4), None, Outcome.RIGHT, 0.5, "lora_scale=1.0"),
        ("vllm-omni", FAST[4], None, Outcome.REFUSED, None, ""),
        ("vllm-omni", peft_pair(PEFT, 8), config(alpha_pattern={"to_q": 8, "to_v": 8}), Outcome.WRONG, 0.5,
         "lora_scale=2"),
        ("musubi-tuner", pair(FLAT, 8, alpha=0), None, Outcome.WRONG, 0, ""),
        ("musubi-tuner", lycoris(FLAT, **HADA), None, Outcome.RIGHT, 0.5, "multiplier=1.0"),
        ("lightx2v", peft_pair(COMFY, 8, 4), None, Outcome.RIGHT, 0.5, "strength=1.0"),
        ("lightx2v", peft_pair(PEFT, 8), config(), Outcome.NOTHING, 0, ""),
        ("x-flux", peft_pair(COMFY, 8, 4), None, Outcome.NOTHING, 0, ""),
        ("longcat", longcat(), None, Outcome.RIGHT, 0.5, "multiplier=1.0"),
        ("mlx-lm", mlx(), {"lora_parameters": {"rank": 8, "scale": 20}}, Outcome.RIGHT, 20, ""),
        ("mlx-lm", mlx(), None, Outcome.REFUSED, None, ""),
    ],
)  # fmt: skip
def test_predicted(
    loader: str,
    tensors: Tensors,
    settings: dict[str, Any] | None,
    outcome: Outcome,
    scale: float | None,
    argument: str,
    tmp_path: Path,
) -> None:
    found = predicted(write(tmp_path / "adapter_model.safetensors", tensors, config=settings))[loader]
    assert (found.outcome, found.argument) == (outcome, argument), found.reason
    assert found.low == found.high == (None if scale is None else pytest.approx(scale))


def test_no_one_number_makes_up_for_scales_that_differ(tmp_path: Path) -> None:
    tensors = peft_pair(COMFY[:1], 8, 4) | peft_pair(COMFY[1:], 8, 2)
    found = predicted(write(tmp_path / "a.safetensors", tensors))["diffsynth-1"]
    assert (found.outcome, found.argument, found.factor) == (Outcome.WRONG, "", None)


@pytest.mark.parametrize("loader", ["fastvideo-0.1.7", "fastvideo-0.2.1"])
def test_fastvideo_loses_alpha_under_names_that_it_maps(loader: str, tmp_path: Path) -> None:
    """As measured in docs/fastvideo.md: 0.5 under its own names, 1 under others; 2.4 is cut to 2."""
    found = predicted(write(tmp_path / "a.safetensors", FAST[4]))[loader]
    assert (found.outcome, found.low, found.high, found.argument) == (Outcome.DEPENDS, 0.5, 1, "")
    found = predicted(write(tmp_path / "a.safetensors", FAST[2.4]))[loader]
    assert (found.outcome, found.low, found.high, found.argument) == (Outcome.WRONG, 0.25, 1, "")


def test_final_layer_in_diffusers(tmp_path: Path) -> None:
    names = [f"lora_unet_double_blocks_{number}_img_mlp_0" for number in range(4)]
    tensors = pair(names, 8, alpha=4) | pair(["lora_unet_final_layer_linear"], 8, alpha=4)
    found = predicted(write(tmp_path / "a.safetensors", tensors))["diffusers-flux"]
    assert (found.outcome, found.wrong, found.count, found.low, found.high) == (Outcome.WRONG, 1, 5, 0.5, 1)


def test_every_row_cites_and_names_conventions_that_exist() -> None:
    known = {item.name for item in CONVENTIONS}
    keys = [key for item in LOADERS for key in (item.key, *item.aliases)]
    assert len(set(keys)) == len(keys)
    for loader in LOADERS:
        assert loader_named(loader.key.upper()) is loader
        assert loader.cases
        for case in loader.cases:
            assert isinstance(case.does, Unsaid) or len(case.does.source) > 10, (loader.key, case)
            assert set(case.files.conventions) <= known


@pytest.mark.parametrize("loader", ["peft", "vllm", "sglang", "lmdeploy", "llama.cpp", "mlx-lm", "litgpt"])
def test_a_file_without_settings_is_refused_where_they_are_needed(loader: str, tmp_path: Path) -> None:
    found = predicted(write(tmp_path / "a.safetensors", pair(FLAT, 8, alpha=4)))[loader]
    assert found.outcome is Outcome.REFUSED
    assert found.reason


def test_a_magnitude_that_is_not_read_makes_another_lora(tmp_path: Path) -> None:
    """ai-toolkit's DoRA: the factors are applied at their scale, and the norm is left out."""
    tensors = peft_pair(COMFY, 8, 4) | {f"{name}.magnitude": zeros(12) for name in COMFY}
    found = predicted(write(tmp_path / "a.safetensors", tensors))["comfyui"]
    assert (found.outcome, found.low, found.factor, found.argument) == (Outcome.WRONG, 0.5, None, "")
    assert "magnitude" in found.reason
    honoured = {key.replace("magnitude", "dora_scale"): value for key, value in tensors.items()}
    found = predicted(write(tmp_path / "b.safetensors", honoured))["comfyui"]
    assert found.outcome is Outcome.RIGHT
    unknown = {key.replace("magnitude", "lora_magnitude_vector"): value for key, value in tensors.items()}
    found = predicted(write(tmp_path / "c.safetensors", unknown))["comfyui"]
    assert found.outcome is Outcome.UNKNOWN


def test_a_peft_folder_for_comfyui_loses_its_alpha(tmp_path: Path) -> None:
    found = predicted(write(tmp_path / "adapter_model.safetensors", peft_pair(PEFT, 8), config=config()))[
        "comfyui"
    ]
    assert (found.outcome, found.low, found.high) == (Outcome.WRONG, 0, 1)
    assert "SD3" in found.reason


def test_core_tensors_and_full_differences_are_no_plain_lora(tmp_path: Path) -> None:
    core = pair(FLAT, 8, alpha=4) | {f"{FLAT[0]}.lora_mid.weight": zeros(8, 8, 3, 3)}
    found = predicted(write(tmp_path / "a.safetensors", core))
    assert found["comfyui"].outcome is Outcome.RIGHT
    assert found["sd-scripts"].outcome is Outcome.UNKNOWN
    full = pair(NAMES, 8, alpha=4) | {"head.diff": zeros(12, 12)}
    found = predicted(write(tmp_path / "b.safetensors", full))
    assert "not on record" not in found["lightx2v"].reason
    assert "modules that are a full difference (1) is not on record" in found["diffsynth-2"].reason


def test_text_encoders_beside_the_model(tmp_path: Path) -> None:
    """A file with both is read as a whole, or what happens is not known: it is never said to be skipped."""
    names = ["lora_unet_double_blocks_0_img_mlp_0", "lora_te1_text_model_encoder_layers_0_mlp_fc1"]
    found = predicted(write(tmp_path / "a.safetensors", pair(names, 8, alpha=4)))
    assert found["musubi-tuner"].outcome is Outcome.RIGHT
    for loader in ("diffsynth-1", "diffsynth-2", "diffusers-flux2"):
        assert found[loader].outcome is Outcome.UNKNOWN, loader


@pytest.mark.parametrize(
    ("name", "metadata", "outcome"),
    [
        ("single_transformer_blocks.0.attn.to_q", {}, Outcome.RIGHT_IF_RANK),
        ("single_transformer_blocks.0.attn.to_qkv_mlp_proj", {}, Outcome.RIGHT_IF_RANK),
        (
            "single_transformer_blocks.0.attn.to_q",
            {"transformer.r": 8, "transformer.lora_alpha": 4},
            Outcome.WRONG,
        ),
    ],
)
def test_invokeai_takes_the_rank_for_alpha_under_the_names_of_diffusers(
    name: str, metadata: dict[str, int], outcome: Outcome, tmp_path: Path
) -> None:
    stated = {"lora_adapter_metadata": json.dumps(metadata)} if metadata else None
    names = [f"transformer.{name}", "transformer.transformer_blocks.0.attn.add_q_proj"]
    said = predicted(write(tmp_path / "a.safetensors", peft_pair(names, 8), stated))["invokeai"]
    assert (said.outcome, said.low, said.high) == (outcome, 1, 1)
    beside = predicted(write(tmp_path / "b.safetensors", peft_pair(names, 8, 4)))["invokeai"]
    assert beside.outcome is Outcome.UNKNOWN


def test_nunchaku_folds_alpha_beside_each_spelling_but_one(tmp_path: Path) -> None:
    """As its converter did on these files."""
    blocks = ("double_blocks.0.img_attn.proj", "single_blocks.0.linear2")
    own = (
        "transformer.transformer_blocks.0.attn.to_out.0",
        "transformer.single_transformer_blocks.0.proj_out",
    )
    flat = [f"lora_unet_{name.replace('.', '_')}" for name in blocks]
    files = (
        (pair(flat, 8, alpha=4), 0.5),
        (pair([f"diffusion_model.{name}" for name in blocks], 8, alpha=4), 0.5),
        (peft_pair(own, 8, 4), 0.5),
        (peft_pair(own, 8), 1),
        (pair(own, 8, alpha=4), 1),
        (peft_pair([f"base_model.model.{name}" for name in blocks], 8), 0),
    )
    for number, (tensors, scale) in enumerate(files):
        said = predicted(write(tmp_path / f"{number}.safetensors", tensors))["nunchaku"]
        assert (said.low, said.high) == (scale, scale), number
    refused = predicted(
        write(tmp_path / "r.safetensors", pair(own, 8, "lora_A.weight", "lora_B.weight", 4, "lora_alpha"))
    )
    assert refused["nunchaku"].outcome is Outcome.REFUSED
