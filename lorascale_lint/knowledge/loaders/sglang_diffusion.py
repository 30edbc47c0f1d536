"""SGLang's diffusion models: FastVideo's layers, with every place of alpha that PEFT and diffusers write."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS
from lorascale_lint.knowledge.reading import (
    Case,
    Files,
    Loader,
    Magnitude,
    Scales,
    Skips,
    Statement,
    Unsaid,
)

_WHERE = "python/sglang/multimodal_gen/runtime/pipelines_core/lora"
_SCALES = (
    f"sglang @ 013aa626 {_WHERE}/pipeline.py _apply_lora_to_layers: int(.alpha), else lora_alpha, else the "
    f"rank; @ 0d7e47be {_WHERE}/peft_adapter.py"
)
_NAMES = f"sglang @ 32dbab0b {_WHERE}/format_adapter.py: names are kept, and mean none of its layers"

SGLANG_DIFFUSION = Loader(
    "sglang-diffusion",
    "SGLang (diffusion models)",
    "strength={}",
    (
        Case(
            Files(
                begin=("lora_unet_", "lora_te"),
                inside=DOUBLE_BLOCKS,
            ),
            Unsaid("a converter of diffusers takes such names"),
        ),
        Case(Files(begin=("lora_", "lycoris_")), Skips(_NAMES)),
        Case(Files(begin=("transformer.", "unet.", "text_encoder")), Unsaid("it depends on the model")),
        Case(
            Files(pairs=(A_B, NAMED_A_B, BARE_A_B, DOWN_UP)),
            Scales(
                _SCALES,
                (Statement.STATED, Statement.ALPHA),
                whole=True,
                kinds=LINEAR,
                magnitudes=(
                    ("lora_magnitude_vector", Magnitude.REFUSED),
                    ("dora_scale", Magnitude.REFUSED),
                ),
            ),
        ),
    ),
)
