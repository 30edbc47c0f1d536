"""diffusers' pipelines of Wan, with converters for the names of Wan's own code."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS, UNET as UNET_FLAT
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
from lorascale_lint.knowledge.reading import (
    Case,
    Files,
    Loader,
    Missing,
    Refuses,
    Scales,
    Skips,
    Statement,
    Unsaid,
)

# Flat names of other models.
_OTHER_FLAT = (*DOUBLE_BLOCKS, "transformer_blocks", *UNET_FLAT)
_WAN = ("self_attn", "cross_attn")
_NOTE = "a file that adapts only a part of a block may be refused"

DIFFUSERS_WAN = Loader(
    "diffusers-wan",
    "diffusers (Wan)",
    "set_adapters(NAMES, {})",
    (
        UNET,
        transformer_of_another_model("transformer_blocks"),
        *converted_of_another_model(_OTHER_FLAT, "layers", "transformer_blocks", *DOUBLE_BLOCKS),
        names_of_another_model("transformer_blocks", *DOUBLE_BLOCKS),
        Case(
            Files(begin=("lora_unet_",), inside=_WAN, pairs=(DOWN_UP,)),
            Scales(RUN, (Statement.ALPHA,), Missing.REFUSED, note=_NOTE),
        ),
        Case(
            Files(begin=("lora_unet_",), pairs=(DOWN_UP,)),
            Unsaid("its converter knows the names of Wan's own code"),
        ),
        Case(
            Files(begin=("diffusion_model.",), inside=_WAN, pairs=(A_B, DOWN_UP)),
            Scales(RUN, (Statement.ALPHA,), Missing.RANK_IF_NONE_HAS_IT, note=_NOTE),
        ),
        Case(Files(begin=("diffusion_model.",), inside=_WAN), Refuses(RUN, "its converter leaves keys over")),
        Case(Files(begin=("diffusion_model.",)), Unsaid("its converter knows the names of Wan's own code")),
        Case(Files(begin=("lora_transformer_",), pairs=(DOWN_UP,)), Skips(RUN)),
        Case(Files(some_without="lora"), Refuses(RUN, NO_LORA_IN_NAME)),
        Case(Files(begin=("transformer.",), inside=_WAN), Refuses(RUN, "its layers have other names")),
        WITH_METADATA,
        *component("transformer.", "transformer_2."),
        Case(Files(begin=("transformer.",), pairs=(DOWN_UP,)), Refuses(RUN, "it finds no rank")),
        LEGACY,
        Case(Files(but_not=("lora_", "transformer"), pairs=(A_B, NAMED_A_B, BARE_A_B, DOWN_UP)), Skips(RUN)),
        Case(Files(begin=("lora___lorahyphen___",)), Skips("docs/verification")),
    ),
    aliases=("wan",),
)
