"""Names of layers that are those of one kind of model, as files with flat names (kohya's) have them."""

from __future__ import annotations

UNET = tuple(
    f"lora_unet_{name}"
    for name in ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block")
)
"""Stable Diffusion up to SDXL: diffusers' names, and those of its first code."""
FLUX = ("lora_unet_double_blocks", "lora_unet_single_blocks")
"""Flux, Flux.2 and HunyuanVideo."""
QWEN = ("lora_unet_transformer_blocks",)
WAN_ENDS = (
    *(f"{kind}_{letter}" for kind in ("self_attn", "cross_attn") for letter in "qkvo"),
    *("_ffn_0", "_ffn_2"),
)
"""How Wan's layers end; other models with `blocks_0_self_attn` say `q_proj`."""
