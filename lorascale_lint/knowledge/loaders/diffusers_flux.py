"""diffusers' pipelines of Flux and Flux.2, each with its converters of other programs' names."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS, UNET as UNET_FLAT, WAN_BLOCKS
from lorascale_lint.knowledge.loaders.diffusers import (
    LEGACY,
    NO_LORA_IN_NAME,
    OF_ANOTHER_MODEL,
    RUN,
    UNET,
    WITH_METADATA,
    component,
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

_OWN = ("transformer.", "diffusion_model.", "base_model.model.", "unet.", "text_encoder", "lora_", "lycoris_")

_OTHER_NAMES = Case(
    Files(begin=("transformer.",), inside=DOUBLE_BLOCKS), Refuses(RUN, "its layers have other names")
)

DIFFUSERS_FLUX = Loader(
    "diffusers-flux",
    "diffusers (Flux)",
    "set_adapters(NAMES, {})",
    (
        Case(
            Files(begin=("lora_unet_", "lora_te1_"), inside=DOUBLE_BLOCKS, pairs=(DOWN_UP,)),
            Scales(
                f"{RUN}; diffusers#13998",
                (Statement.ALPHA,),
                Missing.RANK_IF_NONE_HAS_IT,
                skipped="final_layer",
            ),
        ),
        Case(
            Files(begin=("lora_unet_", "lora_te"), inside=("lora_unet_",), pairs=(DOWN_UP,)),
            Refuses(RUN, "it knows the names of Flux's own code"),
        ),
        Case(
            Files(begin=("diffusion_model.",), inside=DOUBLE_BLOCKS, pairs=(DOWN_UP,)),
            Scales(RUN, (Statement.ALPHA,), Missing.RANK_IF_NONE_HAS_IT, skipped="final_layer"),
        ),
        Case(
            Files(begin=("diffusion_model.",), pairs=(DOWN_UP,)),
            Refuses(RUN, "it knows the names of Flux's own code"),
        ),
        Case(Files(begin=("diffusion_model.",), pairs=(A_B, NAMED_A_B, BARE_A_B)), Skips(RUN)),
        UNET,
        transformer_of_another_model(*WAN_BLOCKS),
        Case(Files(but_not=_OWN, inside=WAN_BLOCKS, pairs=(A_B,)), Skips(RUN)),
        names_of_another_model(*WAN_BLOCKS),
        Case(
            Files(begin=("transformer.", "text_encoder."), with_part="alpha_scale"),
            Unsaid("it takes `.alpha_scale` for an alpha", RUN),
        ),
        _OTHER_NAMES,
        WITH_METADATA,
        *component("transformer.", "text_encoder.", more=(Statement.ALPHA, Statement.LORA_ALPHA)),
        Case(Files(begin=("transformer.",), pairs=(DOWN_UP,)), Scales(RUN)),
        LEGACY,
        Case(Files(begin=("lycoris_",), pairs=(DOWN_UP,)), Refuses(RUN, NO_LORA_IN_NAME)),
        Case(
            Files(begin=("base_model.model.",)), Unsaid("a converter takes such names if the file is whole")
        ),
        Case(Files(but_not=_OWN, pairs=(A_B, NAMED_A_B, BARE_A_B)), Skips(RUN)),
        Case(Files(but_not=_OWN, pairs=(DOWN_UP,)), Refuses(RUN, NO_LORA_IN_NAME)),
    ),
    aliases=("flux",),
)

DIFFUSERS_FLUX2 = Loader(
    "diffusers-flux2",
    "diffusers (Flux.2)",
    "set_adapters(NAMES, {})",
    (
        Case(
            Files(begin=("lora_unet_",), inside=DOUBLE_BLOCKS, pairs=(DOWN_UP,)),
            Scales(RUN, (Statement.ALPHA,), Missing.RANK_IF_NONE_HAS_IT),
        ),
        Case(Files(inside=UNET_FLAT, pairs=(DOWN_UP,)), Skips(RUN)),
        Case(Files(inside=("lora_te",), pairs=(DOWN_UP,)), Unsaid("text encoders are not on record")),
        Case(Files(pairs=(DOWN_UP,)), Skips(RUN)),
        Case(Files(with_part="alpha", pairs=(A_B, NAMED_A_B, BARE_A_B)), Refuses(RUN, NO_LORA_IN_NAME)),
        Case(Files(with_part="alpha_scale", pairs=(A_B, NAMED_A_B, BARE_A_B)), Refuses(RUN, NO_LORA_IN_NAME)),
        UNET,
        transformer_of_another_model(*WAN_BLOCKS),
        Case(
            Files(begin=("diffusion_model.blocks.", "diffusion_model.layers."), pairs=(A_B,)),
            OF_ANOTHER_MODEL,
        ),
        Case(Files(but_not=_OWN, inside=WAN_BLOCKS, pairs=(A_B,)), Skips(RUN)),
        names_of_another_model(*WAN_BLOCKS),
        _OTHER_NAMES,
        WITH_METADATA,
        *component("transformer."),
        *component("diffusion_model.", "base_model.model.", magnitudes=()),
        LEGACY,
        Case(Files(but_not=_OWN, pairs=(A_B, NAMED_A_B, BARE_A_B)), Skips(RUN)),
    ),
    aliases=("flux2",),
)
