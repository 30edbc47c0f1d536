"""diffusers' pipelines of Qwen-Image, whose converter is only called for some names."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS, UNET as UNET_FLAT, WAN_BLOCKS
from lorascale_lint.knowledge.loaders.diffusers import (
    LEGACY,
    NO_LORA_IN_NAME,
    RUN,
    UNET,
    WITH_METADATA,
    component,
    converted_of_another_model,
    names_of_another_model,
    transformer_of_another_model,
)
from lorascale_lint.knowledge.reading import Case, Files, Loader, Missing, Refuses, Scales, Skips, Statement

_CONVERTED = Scales(f"{RUN}; diffusers#14088", (Statement.ALPHA,), Missing.RANK_IF_NONE_HAS_IT)
_PLACES = (
    "transformer.",
    "base_model.model.",
    "lycoris_",
    "lora_transformer_",
    "lora___lorahyphen___",
    "unet.",
)
# Flat names of other models.
_OTHER_FLAT = (*DOUBLE_BLOCKS, "lora_unet_blocks_", *UNET_FLAT)
_ALL = (A_B, NAMED_A_B, DOWN_UP)

DIFFUSERS_QWEN = Loader(
    "diffusers-qwen",
    "diffusers (Qwen-Image)",
    "set_adapters(NAMES, {})",
    (
        UNET,
        transformer_of_another_model(*WAN_BLOCKS),
        *converted_of_another_model(_OTHER_FLAT, "blocks", "layers", *DOUBLE_BLOCKS),
        names_of_another_model("single_transformer_blocks", *DOUBLE_BLOCKS, *WAN_BLOCKS),
        Case(Files(begin=("lora_unet_",), pairs=(DOWN_UP,)), _CONVERTED),
        Case(Files(begin=("diffusion_model.",), pairs=_ALL), _CONVERTED),
        Case(
            Files(begin=("diffusion_model.",), pairs=(BARE_A_B,)),
            Refuses(RUN, "its converter leaves keys over"),
        ),
        Case(
            Files(with_part="alpha", begin=_PLACES),
            Refuses(RUN, "its converter keeps what stands before the names"),
        ),
        Case(Files(with_part="alpha", pairs=(BARE_A_B,)), Refuses(RUN, "its converter leaves keys over")),
        Case(Files(with_part="alpha", but_not=("lora_",), pairs=_ALL), _CONVERTED),
        Case(Files(with_part="alpha_scale", but_not=("lora_",)), Refuses(RUN, NO_LORA_IN_NAME)),
        Case(
            Files(begin=("transformer.",), pairs=(NAMED_A_B,)),
            Refuses(RUN, "it keeps `transformer.` before the names"),
        ),
        WITH_METADATA,
        *component("transformer."),
        Case(Files(begin=("transformer.",), pairs=(DOWN_UP,)), Refuses(RUN, "it finds no rank")),
        LEGACY,
        Case(
            Files(begin=("base_model.model.",), pairs=(NAMED_A_B,)),
            Refuses(RUN, "it keeps what stands before the names"),
        ),
        Case(Files(but_not=("lora_",), pairs=(NAMED_A_B,)), _CONVERTED),
        Case(Files(but_not=("lora_unet_",), pairs=(A_B, BARE_A_B, DOWN_UP)), Skips(RUN)),
    ),
    aliases=("qwen",),
)
