"""InvokeAI: a converter for each kind of model, and one rule for the scale."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK
from lorascale_lint.knowledge.layer_names import WAN_BLOCKS
from lorascale_lint.knowledge.reading import Case, Files, Loader, Refuses, Scales, Skips, Statement, Unsaid

_RULE = "InvokeAI @ 8e71a8a5 backend/patches/layers/lora_layer_base.py:49-53: missing is 1.0"
_WAN = "InvokeAI @ 8e71a8a5 patches/lora_conversions/wan_lora_conversion_utils.py:198-215, run"
_QWEN = "InvokeAI @ 8e71a8a5 patches/lora_conversions/qwen_image_lora_conversion_utils.py, run"
_FLUX = "InvokeAI @ 8e71a8a5 patches/lora_conversions/flux_aitoolkit_lora_conversion_utils.py, run"
_DIFFUSERS = (
    "InvokeAI @ 8e71a8a5 model_manager/load/model_loaders/lora.py:116-131: alpha=None, taken as the rank; "
    "patches/lora_conversions/flux_diffusers_lora_conversion_utils.py:12-73, run"
)
_BEFORE = ("", "transformer.", "diffusion_model.")
_FLUX_NAMES = ("transformer.", "base_model.model.")
_WAN_NAMES = tuple(f"{before}blocks." for before in _BEFORE)
_QWEN_NAMES = tuple(f"{before}transformer_blocks." for before in (*_BEFORE, "base_model.model."))
_NO_LAYER = "it makes no layer of such keys"


def _foreign(names: tuple[str, ...], inside: tuple[str, ...], source: str) -> tuple[Case, ...]:
    """Files with keys of which it makes no layer."""
    return (
        Case(Files(begin=names, inside=inside, pairs=(BARE_A_B,)), Refuses(source, _NO_LAYER)),
        Case(Files(begin=names, inside=inside, with_part="lora_alpha"), Refuses(source, _NO_LAYER)),
        Case(Files(begin=names, inside=inside, with_part="alpha_scale"), Refuses(source, _NO_LAYER)),
    )


INVOKEAI = Loader(
    "invokeai",
    "InvokeAI",
    "weight={}",
    (
        Case(
            Files(conventions=("kohya",)),
            Scales(_RULE, (Statement.ALPHA,), kinds=LOW_RANK | KRONECKER, cores=True),
        ),
        *_foreign(_WAN_NAMES, WAN_BLOCKS, _WAN),
        Case(
            Files(begin=_WAN_NAMES, inside=WAN_BLOCKS, pairs=(A_B, NAMED_A_B, DOWN_UP)),
            Scales(_WAN, (Statement.ALPHA,)),
        ),
        Case(
            Files(begin=("base_model.model.blocks.",), inside=WAN_BLOCKS),
            Skips(_WAN),
        ),
        *_foreign(_QWEN_NAMES, (), _QWEN),
        Case(
            Files(begin=_QWEN_NAMES, pairs=(DOWN_UP,)),
            Scales(_QWEN, (Statement.ALPHA,), note="for Qwen-Image"),
        ),
        Case(
            Files(begin=_QWEN_NAMES, pairs=(A_B, NAMED_A_B)),
            Scales(_QWEN, note="for Qwen-Image it drops `.alpha` beside lora_A and lora_B"),
        ),
        Case(
            Files(
                begin=("diffusion_model.double_blocks.", "diffusion_model.single_blocks."), with_part="alpha"
            ),
            Refuses(_FLUX, _NO_LAYER),
        ),
        Case(
            Files(
                begin=("diffusion_model.double_blocks.", "diffusion_model.single_blocks."),
                pairs=(A_B, NAMED_A_B, DOWN_UP),
                conventions=("comfy",),
            ),
            Scales(_FLUX),
        ),
        # With `.alpha` beside them these keys are not those that it knows.
        Case(Files(begin=_FLUX_NAMES, with_part="alpha"), Unsaid("it depends on the kind of model")),
        Case(
            Files(begin=_FLUX_NAMES, ends=("single_transformer_blocks.0.attn.to_q",), pairs=(A_B, NAMED_A_B)),
            Scales(_DIFFUSERS, note="it is known by `transformer_blocks.0.attn.add_q_proj` as well"),
        ),
        Case(
            Files(begin=_FLUX_NAMES, inside=("to_qkv_mlp_proj", "ff.linear_in"), pairs=(A_B, NAMED_A_B)),
            Scales(_DIFFUSERS),
        ),
        Case(Files(), Unsaid("it depends on the kind of model")),
    ),
)
