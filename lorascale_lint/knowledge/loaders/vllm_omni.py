"""vLLM-Omni: a PEFT folder as vLLM reads it, or a single file that is made into one."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.loaders.peft import FILES
from lorascale_lint.knowledge.reading import (
    Case,
    Divisor,
    Files,
    Loader,
    Magnitude,
    Missing,
    Refuses,
    Scales,
    Statement,
    Unsaid,
)

_SOURCE = "vllm-omni @ 09d1b31e vllm_omni/diffusion/lora/utils.py convert_single_file_lora"
_MANAGER = "vllm-omni @ 09d1b31e vllm_omni/diffusion/lora/manager.py _load_adapter"
_UNKNOWN_KEY = Refuses(_SOURCE, "a single file may have lora_A, lora_B, lora_down, lora_up and .alpha")
_NO_MODULE = Refuses(_SOURCE, "its names match no module of the pipeline")

VLLM_OMNI = Loader(
    "vllm-omni",
    "vLLM-Omni",
    "lora_scale={}",
    (
        Case(
            Files(conventions=("peft",), other_names=FILES),
            Unsaid("it depends on whether the file or its folder is given", _MANAGER),
        ),
        Case(
            Files(conventions=("peft",)),
            Scales(
                _MANAGER,
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                kinds=LINEAR,
                prefix="base_model.model.",
                magnitudes=(("lora_magnitude_vector", Magnitude.REFUSED),),
                note="for the folder; of the file alone the settings are not read",
            ),
        ),
        *(
            Case(Files(with_part=part), _UNKNOWN_KEY)
            for part in (
                "lora_alpha", "alpha_scale", "scale", "dora_scale", "lora_magnitude_vector", "magnitude",
                "diff", "diff_b", "lora_mid",
            )
        ),
        Case(Files(pairs=(NAMED_A_B, BARE_A_B)), _UNKNOWN_KEY),
        Case(Files(begin=("lora_", "lycoris_"), pairs=(DOWN_UP,)), _NO_MODULE),
        Case(Files(begin=("lora_", "lycoris_")), _UNKNOWN_KEY),
        Case(Files(begin=("unet.", "text_encoder")), Unsaid("such names are not on record")),
        Case(Files(pairs=(A_B, DOWN_UP)), Scales(_SOURCE, (Statement.ALPHA,), kinds=LINEAR)),
    ),
)  # fmt: skip
