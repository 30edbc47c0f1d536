"""LightX2V: seven spellings of the factors, `.alpha` of the layer."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import (
    A_B,
    BARE_A_B,
    DOWN_UP,
    LAYER_DOWN_UP,
    LORA_DOWN_UP,
    NAMED_A_B,
)
from lorascale_lint.knowledge.kinds import LINEAR, Kind
from lorascale_lint.knowledge.reading import Case, Files, Loader, Magnitude, Scales, Skips, Statement, Zero

# Run on the 15 kinds of files of `verify --matrix` too.
_SOURCE = "LightX2V @ f8aee98b lightx2v/utils/lora_loader.py"

LIGHTX2V = Loader(
    "lightx2v",
    "LightX2V",
    "strength={}",
    (
        Case(
            Files(begin=("transformer.", "base_model.model.", "lora_", "lycoris_", "text_encoder")),
            Skips(f"{_SOURCE}:249-253, :369: of what stands before names, only three words are taken away"),
        ),
        Case(
            Files(begin=("unet.down_blocks.", "unet.up_blocks.", "unet.mid_block.")),
            Skips(f"{_SOURCE}:369: its models have no such layers"),
        ),
        Case(
            Files(pairs=(DOWN_UP, A_B, LORA_DOWN_UP, BARE_A_B, LAYER_DOWN_UP, NAMED_A_B)),
            Scales(
                f"{_SOURCE}:259-261, :390-395: .alpha over the rows of A, 1 without it or where it is 0",
                (Statement.ALPHA,),
                zero=Zero.ONE,
                kinds=LINEAR,
                as_they_are=frozenset({Kind.FULL}),
                magnitudes=tuple(
                    (role, Magnitude.IGNORED) for role in ("dora_scale", "lora_magnitude_vector", "magnitude")
                ),
            ),
        ),
    ),
)
