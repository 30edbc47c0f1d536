"""ComfyUI: `.alpha` alone, by a map of the model's names."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK, Kind
from lorascale_lint.knowledge.reading import Case, Files, Loader, Magnitude, Scales, Skips, Statement

_SOURCE = "ComfyUI @ a125cd84 comfy/weight_adapter: only .alpha, missing is 1.0; comfyui#6909"
_FULL = frozenset({Kind.FULL})
_KINDS = LOW_RANK | KRONECKER | {Kind.GLORA}
# `.magnitude`, as ai-toolkit writes it, is no key of its code: the factors are applied as a plain LoRA.
_MAGNITUDES = (("dora_scale", Magnitude.APPLIED), ("magnitude", Magnitude.IGNORED))


def _read(only: str = "") -> Scales:
    return Scales(
        _SOURCE,
        (Statement.ALPHA,),
        kinds=_KINDS,
        as_they_are=_FULL,
        cores=True,
        magnitudes=_MAGNITUDES,
        only=only,
    )


COMFYUI = Loader(
    "comfyui",
    "ComfyUI",
    "strength_model={}",
    (
        Case(
            Files(begin=("lora___lorahyphen___",)),
            Skips("ComfyUI @ a125cd84 comfy/lora.py: keys that its map of the model lacks are not loaded"),
        ),
        Case(
            Files(begin=("lora_", "lycoris_", "diffusion_model.", "unet.", "transformer.", "text_encoder")),
            _read(),
        ),
        Case(
            Files(begin=("base_model.model.",)),
            _read("models whose map has PEFT's names, such as SD3 and PixArt"),
        ),
        Case(
            Files(
                conventions=(
                    "plain",
                    "bare",
                    "diffsynth",
                    "down-up",
                    "fastvideo",
                    "longcat",
                    "peft",
                    "lycoris-plain",
                )
            ),
            _read("models whose map has their bare names, such as Mochi"),
        ),
        Case(Files(conventions=("diffusers",)), _read()),
    ),
)
