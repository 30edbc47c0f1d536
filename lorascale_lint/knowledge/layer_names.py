"""Names of layers that are those of one kind of model, in files with flat names (kohya's) and others."""

from __future__ import annotations

UNET = tuple(
    f"lora_unet_{name}"
    for name in ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block")
)
"""Stable Diffusion up to SDXL: diffusers' names, and those of its first code."""
_PARTS = ("down", "up")


def is_part_of_unet(key: str, source: str) -> bool:
    """Is ``scales["down"]`` of a UNet, as in code that names its middle block, too, and no factor?"""
    return key in _PARTS and ('"mid"' in source or "'mid'" in source)


DOUBLE_BLOCKS = ("double_blocks", "single_blocks")
"""Flux's own code, and models after it."""
FLUX = tuple(f"lora_unet_{name}" for name in DOUBLE_BLOCKS)
"""Flux, Flux.2 and HunyuanVideo."""
QWEN = ("lora_unet_transformer_blocks",)
WAN_BLOCKS = ("attn1", "attn2", "self_attn", "cross_attn")
"""Attention in blocks of Wan, in diffusers' names and in its own."""
WAN_ENDS = (
    *(f"{kind}_{letter}" for kind in ("self_attn", "cross_attn") for letter in "qkvo"),
    *("_ffn_0", "_ffn_2"),
)
"""How Wan's layers end; other models with `blocks_0_self_attn` say `q_proj`."""
