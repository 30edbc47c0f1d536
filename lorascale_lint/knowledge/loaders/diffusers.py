"""diffusers' pipelines of Stable Diffusion: names after `unet.`, or kohya's."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS
from lorascale_lint.knowledge.reading import (
    Case,
    Files,
    Loader,
    Magnitude,
    Missing,
    Refuses,
    Scales,
    Skips,
    Statement,
    Unsaid,
)

RUN = "run with diffusers 0.42.1"
MAGNITUDES = (("lora_magnitude_vector", Magnitude.APPLIED),)
_FIRST_RANK = "before diffusers#14409 (2026-08-10) the rank of the first module is taken for all"
NO_LORA_IN_NAME = "names without `lora` in them, such as `.alpha`"
# PEFT's metadata is honoured whatever the pipeline.
WITH_METADATA = Case(
    Files(conventions=("diffusers",), pairs=(A_B,)),
    Scales(f"diffusers#11324: lora_adapter_metadata; {RUN}", (Statement.STATED,), magnitudes=MAGNITUDES),
)


# Words in flat names of other models than the pipeline's.
_OTHER_FLAT = (*DOUBLE_BLOCKS, "lora_unet_blocks_", "lora_unet_transformer_blocks_", "lora_unet_layers_")
OF_ANOTHER_MODEL = Refuses(RUN, "these are names of another model's layers")
UNET = Case(Files(begin=("unet.",), pairs=(A_B,)), Skips(RUN))


def names_of_another_model(*words: str) -> Case:
    """Files with names that the pipeline's model has not."""
    return Case(Files(inside=words), Unsaid("these are names of another model"))


def converted_of_another_model(flat: tuple[str, ...], *names: str) -> tuple[Case, Case]:
    """Files of another model that a converter would have to know, flat and with names of its first code."""
    code = tuple(f"diffusion_model.{name}." for name in names)
    return (
        Case(Files(begin=("lora_unet_", "lora_te"), inside=flat, pairs=(DOWN_UP,)), OF_ANOTHER_MODEL),
        Case(Files(begin=code, pairs=(A_B, DOWN_UP)), OF_ANOTHER_MODEL),
    )


def transformer_of_another_model(*words: str) -> Case:
    """Files of another transformer: no layer has such a name."""
    return Case(Files(begin=("transformer.",), inside=words, pairs=(A_B,)), OF_ANOTHER_MODEL)


LEGACY = Case(
    Files(conventions=("diffusers-legacy",)),
    Scales(
        "diffusers#14409: alpha is the rank of each module",
        note_on_ranks=_FIRST_RANK,
    ),
)


def component(
    *names: str, more: tuple[Statement, ...] = (), magnitudes: tuple[tuple[str, Magnitude], ...] = MAGNITUDES
) -> tuple[Case, ...]:
    """Files with the name of a component of the pipeline before each module's."""
    return (
        Case(
            Files(begin=names, pairs=(A_B,)),
            Scales(
                f"{RUN}; diffusers#14409",
                more,
                Missing.RANK_IF_NONE_HAS_IT,
                magnitudes=magnitudes,
                note_on_ranks=_FIRST_RANK,
            ),
        ),
        Case(
            Files(begin=names, pairs=(NAMED_A_B, BARE_A_B)),
            Refuses(RUN, "its factors get no weights, and its first step fails"),
        ),
    )


DIFFUSERS = Loader(
    "diffusers",
    "diffusers (SD, SDXL)",
    "set_adapters(NAMES, {})",
    (
        Case(Files(begin=("lora_unet_",), inside=_OTHER_FLAT, pairs=(DOWN_UP,)), OF_ANOTHER_MODEL),
        Case(
            Files(begin=("lora_unet_", "lora_te"), pairs=(DOWN_UP,)),
            Scales(
                f"diffusers @ 58eb52c0: network_alphas; {RUN}",
                (Statement.ALPHA,),
                Missing.RANK_IF_NONE_HAS_IT,
            ),
        ),
        Case(Files(begin=("lora_transformer_", "lora_prior_"), pairs=(DOWN_UP,)), Skips(RUN)),
        Case(Files(some_without="lora"), Refuses(RUN, NO_LORA_IN_NAME)),
        Case(Files(begin=("transformer.",), pairs=(A_B,)), Skips(RUN)),
        WITH_METADATA,
        *component("unet.", "text_encoder.", "text_encoder_2."),
        Case(Files(begin=("unet.",), pairs=(DOWN_UP,)), Refuses(RUN, "it finds no rank")),
        LEGACY,
        Case(
            Files(
                pairs=(A_B, NAMED_A_B, BARE_A_B, DOWN_UP),
                but_not=("lora_", "transformer.", "unet.", "text_encoder"),
            ),
            Skips(RUN),
        ),
    ),
)
