"""Servers and trainers of language models that read folders with settings."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.loaders.peft import FILES, NO_SETTINGS, OTHER_NAME, SUFFIXES, WITHOUT_SETTINGS
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
    Zero,
)

_REFUSED_DORA = (("lora_magnitude_vector", Magnitude.REFUSED),)


def _without_settings(source: str) -> Case:
    return Case(Files(conventions=WITHOUT_SETTINGS), Refuses(source, NO_SETTINGS))


VLLM = Loader(
    "vllm",
    "vLLM",
    "",
    (
        Case(
            Files(conventions=("peft",), other_names=FILES),
            Refuses("vllm @ e745baff vllm/lora/lora_model.py from_local_checkpoint", OTHER_NAME),
        ),
        Case(
            Files(conventions=("peft",)),
            Scales(
                "vllm @ e745baff vllm/lora/peft_helper.py: r and lora_alpha of the settings, no patterns",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                kinds=LINEAR,
                prefix="base_model.model.",
                magnitudes=_REFUSED_DORA,
            ),
        ),
        _without_settings(
            "vllm @ e745baff vllm/lora/peft_helper.py from_local_dir: opens adapter_config.json"
        ),
    ),
    suffixes=SUFFIXES,
    models=Models.ANY,
)

SGLANG = Loader(
    "sglang",
    "SGLang (language models)",
    "",
    (
        Case(
            Files(conventions=("peft",)),
            Scales(
                "sglang @ db2a4cc1 python/sglang/srt/lora/lora.py: lora_alpha / r; sglang#40835",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                rslora=False,
                kinds=LINEAR,
                prefix="base_model.model.",
            ),
        ),
        _without_settings(
            "sglang @ db2a4cc1 python/sglang/srt/lora/lora_config.py: opens adapter_config.json"
        ),
    ),
    models=Models.ANY,
)

LMDEPLOY = Loader(
    "lmdeploy",
    "LMDeploy, S-LoRA",
    "",
    (
        Case(
            Files(conventions=("peft",), other_names=FILES),
            Refuses("lmdeploy @ 1263d5cd lmdeploy/pytorch/models/patch.py:327-330", OTHER_NAME),
        ),
        Case(
            Files(conventions=("peft",)),
            Scales(
                "lmdeploy @ 1263d5cd pytorch/adapter/adapter.py:20, S-LoRA @ c1ddf48: lora_alpha / r",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                rslora=False,
                kinds=LINEAR,
                prefix="base_model.model.",
            ),
        ),
        _without_settings(
            "lmdeploy @ 1263d5cd lmdeploy/pytorch/check_env/adapter.py: PeftConfig.from_pretrained"
        ),
    ),
    suffixes=SUFFIXES,
    models=Models.ANY,
)

LLAMA_CPP = Loader(
    "llama.cpp",
    "llama.cpp, after convert_lora_to_gguf.py",
    "--lora-scaled FILE:{}",
    (
        Case(
            Files(conventions=("peft",), other_names=FILES),
            Refuses("llama.cpp @ 0b03adaa convert_lora_to_gguf.py", OTHER_NAME),
        ),
        Case(
            Files(conventions=("peft",)),
            Scales(
                "llama.cpp @ 0b03adaa convert_lora_to_gguf.py: one lora_alpha for the file, as it is",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                zero=Zero.ONE,
                divisor=Divisor.COLUMNS,
                rslora=False,
                kinds=LINEAR,
                prefix="base_model.model.",
            ),
        ),
        Case(
            Files(conventions=("gguf",)),
            Scales(
                "llama.cpp @ 0b03adaa: adapter.lora.alpha over the rank, 0 or none is scale 1",
                (Statement.STATED,),
                zero=Zero.ONE,
                divisor=Divisor.COLUMNS,
                kinds=LINEAR,
            ),
        ),
        _without_settings(
            "llama.cpp @ 0b03adaa convert_lora_to_gguf.py: takes a folder with adapter_config.json"
        ),
    ),
    aliases=("llama-cpp",),
    suffixes=(*SUFFIXES, ".gguf"),
    models=Models.ANY,
)

MLX_LM = Loader(
    "mlx-lm",
    "mlx-lm",
    "",
    (
        Case(
            Files(conventions=("mlx",)),
            Scales(
                "mlx-lm @ d78bf58e tuner/lora.py; mlx-examples c457a3f8",
                (Statement.STATED,),
                Missing.REFUSED,
                note="before mlx-examples c457a3f8 (2024-06-02) scale is multiplied by alpha / rank too",
            ),
        ),
        Case(
            Files(conventions=(*WITHOUT_SETTINGS, "peft")),
            Refuses(
                "mlx-lm @ d78bf58e tuner/utils.py:128-138",
                "it needs mlx-lm's own adapter_config.json and adapters.safetensors",
            ),
        ),
    ),
    aliases=("mlx",),
    models=Models.ANY,
)

LITGPT = Loader(
    "litgpt",
    "litgpt",
    "",
    (
        Case(
            Files(conventions=("litgpt",)),
            Scales(
                "litgpt @ 26857050 scripts/merge_lora.py: lora_* of hyperparameters.yaml",
                (Statement.STATED,),
                Missing.REFUSED,
                divisor=Divisor.COLUMNS,
            ),
        ),
        Case(
            Files(
                conventions=(
                    *(name for name in WITHOUT_SETTINGS if name != "litgpt"),
                    "peft",
                    "mlx",
                    "torchtune",
                )
            ),
            Refuses(
                "litgpt @ 26857050 litgpt/scripts/merge_lora.py:42, :65, :87",
                "it reads lit_model.pth.lora and hyperparameters.yaml",
            ),
        ),
    ),
    suffixes=(".safetensors", ".lora"),
    models=Models.ANY,
)
