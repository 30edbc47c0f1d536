"""Nunchaku's 4-bit Flux: diffusers' converter, after which it folds each alpha itself."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS
from lorascale_lint.knowledge.reading import Case, Files, Loader, Refuses, Scales, Skips, Statement

_RUN = "nunchaku @ 3a3cc3d nunchaku/lora/flux/diffusers_converter.py to_diffusers, run with diffusers 0.42.1"
_OF_BLOCKS = (
    f"{_RUN}; nunchaku_converter.py:698-712: names of blocks, with or without `transformer.` before them"
)
_REST = "nunchaku @ 3a3cc3d nunchaku/models/transformers/transformer_flux.py:724-729"
_OWN_BLOCKS = tuple(
    f"{before}{name}."
    for before in ("transformer.", "")
    for name in ("transformer_blocks", "single_transformer_blocks")
)
_FOLDED = Scales(_RUN, (Statement.ALPHA,), kinds=LINEAR)
_NO_LAYER = Refuses(_REST, "it looks up a layer of that name")

NUNCHAKU = Loader(
    "nunchaku",
    "Nunchaku (Flux)",
    "set_lora_strength({})",
    (
        Case(
            Files(begin=("base_model.model.",)),
            Skips(f"{_RUN}: such a file is renamed for ComfyUI, and not converted further"),
        ),
        *(
            Case(Files(with_part=part, pairs=(A_B,)), Refuses(_RUN, f"`.{part}` is taken for an `.alpha`"))
            for part in ("lora_alpha", "alpha_scale")
        ),
        Case(Files(begin=("lora_transformer_",), pairs=(DOWN_UP,)), _FOLDED),
        Case(Files(begin=("lora_unet_",), inside=DOUBLE_BLOCKS, pairs=(DOWN_UP,)), _FOLDED),
        Case(Files(begin=("lora_unet_",), pairs=(DOWN_UP,)), Refuses(_RUN, "it knows Flux's names alone")),
        Case(Files(begin=("diffusion_model.",), inside=DOUBLE_BLOCKS, pairs=(DOWN_UP,)), _FOLDED),
        Case(Files(begin=_OWN_BLOCKS, pairs=(A_B,)), Scales(_OF_BLOCKS, (Statement.ALPHA,), kinds=LINEAR)),
        Case(
            Files(begin=_OWN_BLOCKS[:2], pairs=(DOWN_UP,)),
            Scales(f"{_RUN}: of such names `.alpha` is left over", kinds=LINEAR),
        ),
        Case(Files(pairs=(A_B, NAMED_A_B, BARE_A_B)), _NO_LAYER),
        Case(Files(but_not=("lora_", "lycoris_"), pairs=(DOWN_UP,)), Skips(_RUN)),
        Case(Files(begin=("lycoris_", "lora___lorahyphen___"), pairs=(DOWN_UP,)), Skips(_RUN)),
        Case(Files(begin=("lycoris_",)), Refuses(_RUN, "its converter looks for factors beside each alpha")),
    ),
)
