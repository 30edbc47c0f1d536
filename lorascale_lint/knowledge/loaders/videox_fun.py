"""VideoX-Fun's merge: names of its own model, of ComfyUI and of kohya; one spelling of alpha."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.layer_names import UNET
from lorascale_lint.knowledge.reading import Case, Divisor, Files, Loader, Refuses, Scales, Skips, Statement

_SOURCE = "VideoX-Fun @ 063db15f videox_fun/utils/lora_utils.py merge_lora"
_READ = (A_B, NAMED_A_B, DOWN_UP)
_ENDS = "a key that is none of lora_up, lora_down, lora_A, lora_B or alpha ends its run"
_OTHER_PARTS = ("alpha_scale", "lora_rank", "scale", "dora_scale", "lora_magnitude_vector")
_OTHER_FACTORS = ("hada_w1_a", "lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a", "a1")
_SCALES = Scales(
    f"{_SOURCE}: alpha over the columns of B, missing is 1", (Statement.ALPHA,), divisor=Divisor.COLUMNS
)

VIDEOX_FUN = Loader(
    "videox-fun",
    "VideoX-Fun",
    "multiplier={}",
    (
        *(Case(Files(with_part=part), Refuses(_SOURCE, _ENDS)) for part in _OTHER_PARTS),
        *(Case(Files(with_part=part), Refuses(_SOURCE, _ENDS)) for part in _OTHER_FACTORS),
        Case(Files(pairs=(BARE_A_B,)), Refuses(_SOURCE, _ENDS)),
        Case(Files(inside=UNET), Skips(f"{_SOURCE}: prints that it can't load the layer")),
        Case(
            Files(begin=("base_model.", "transformer.", "unet.", "text_encoder", "lycoris_"), pairs=_READ),
            Skips(f"{_SOURCE}: prints that it can't load the layer"),
        ),
        Case(
            Files(
                conventions=("kohya", "comfy", "plain", "diffsynth", "down-up", "fastvideo", "peft"),
                pairs=(A_B, DOWN_UP),
            ),
            _SCALES,
        ),
        # Of named adapters it knows the name `default` alone.
        Case(Files(conventions=("diffsynth",), pairs=(NAMED_A_B,)), _SCALES),
    ),
)
