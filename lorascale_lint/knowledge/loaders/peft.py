"""PEFT: the settings beside the file, by module."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK, Kind
from lorascale_lint.knowledge.reading import (
    Case,
    Divisor,
    Files,
    Loader,
    Magnitude,
    Missing,
    Models,
    Refuses,
    Scales,
    Statement,
)

FILES = ("adapter_model.safetensors", "adapter_model.bin")
SUFFIXES = (".safetensors", ".bin")
# What has no settings with a peft_type beside it.
WITHOUT_SETTINGS = (
    "longcat",
    "diffusers",
    "fastvideo",
    "litgpt",
    "megatron",
    "xlabs",
    "bfl",
    "kohya",
    "lycoris",
    "comfy",
    "peft-keys",
    "diffusers-legacy",
    "diffusers-plain",
    "diffsynth",
    "down-up",
    "plain",
    "bare",
    "lycoris-plain",
    "gguf",
)
OTHER_NAME = f"it looks for {FILES[0]}"
NO_SETTINGS = "it needs adapter_config.json beside the file"

PEFT = Loader(
    "peft",
    "PEFT",
    "scale_layer({})",
    (
        Case(
            Files(conventions=("peft",), other_names=FILES),
            Refuses("peft @ 5d602fdb utils/save_and_load.py load_peft_weights", OTHER_NAME),
        ),
        Case(
            Files(conventions=("peft",)),
            Scales(
                "peft @ 5d602fdb tuners/lora/layer.py, config.py",
                (Statement.STATED,),
                Missing.DEFAULT_8,
                prefix="base_model.model.",
                divisor=Divisor.COLUMNS,
                kinds=LOW_RANK | KRONECKER | {Kind.GLORA},
                magnitudes=(("lora_magnitude_vector", Magnitude.APPLIED),),
            ),
        ),
        Case(
            Files(conventions=WITHOUT_SETTINGS),
            Refuses("peft @ 5d602fdb config.py from_pretrained; run with 0.21.2", NO_SETTINGS),
        ),
    ),
    suffixes=SUFFIXES,
    models=Models.ANY,
)
