"""x-flux (XLabs): processors of Flux's blocks, no scaling."""

from __future__ import annotations

from lorascale_lint.knowledge.reading import Case, Files, Loader, Scales, Skips

X_FLUX = Loader(
    "x-flux",
    "x-flux",
    "lora_weight={}",
    (
        Case(
            Files(conventions=("xlabs",)),
            Scales("x-flux @ 4749542 src/flux/xflux_pipeline.py:109-130: network_alpha None, no scaling"),
        ),
        Case(
            Files(),
            Skips("x-flux @ 4749542 src/flux/xflux_pipeline.py:113-130: keys without a processor's name"),
        ),
    ),
    note="`lora_weight` multiplies both factors, and is 0.7 if it is not given",
    suffixes=(".safetensors", ".pt", ".pth", ".ckpt", ".bin"),
)
