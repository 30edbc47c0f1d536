"""FastVideo: `.lora_alpha` beside `.lora_A` and `.lora_B`, in three stages of its repair."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.reading import Case, Files, Loader, Scales, Skips, Statement, Zero

_SKIPPED = Case(
    Files(begin=("base_model.model.", "lora___lorahyphen___", "lycoris_", "lora_", "transformer.", "unet.")),
    Skips("FastVideo pipelines/lora_pipeline.py: names of no layer are skipped; docs/verification"),
)
# lora_A and lora_B at the end of a name, and nothing else, before normalize_lora_key of 0.2.1.
_OTHER_PAIRS = Case(
    Files(pairs=(DOWN_UP, NAMED_A_B)),
    Skips("FastVideo up to 0.2.0 pipelines/lora_pipeline.py: only .lora_A and .lora_B; docs/verification"),
)
_NAMES = (
    "alpha is kept under FastVideo's own names of modules, and lost (scale 1) under names that it maps "
    "to them, as those of published and original checkpoints"
)

FASTVIDEO_016 = Loader(
    "fastvideo-0.1.6",
    "FastVideo up to 0.1.6 (merged)",
    "",
    (
        _SKIPPED,
        _OTHER_PAIRS,
        Case(
            Files(pairs=(A_B, BARE_A_B)), Scales("FastVideo#870; measured, docs/fastvideo.md", kinds=LINEAR)
        ),
    ),
)

FASTVIDEO_017 = Loader(
    "fastvideo-0.1.7",
    "FastVideo 0.1.7 and 0.2.0 (merged)",
    "",
    (
        _SKIPPED,
        _OTHER_PAIRS,
        Case(
            Files(pairs=(A_B, BARE_A_B)),
            Scales(
                "FastVideo c0d03fc4: int(lora_alpha), .alpha not read; measured, docs/fastvideo.md",
                (Statement.LORA_ALPHA,),
                zero=Zero.ONE,
                whole=True,
                kinds=LINEAR,
                loses_renamed=True,
                note=_NAMES,
            ),
        ),
    ),
)

FASTVIDEO_021 = Loader(
    "fastvideo-0.2.1",
    "FastVideo 0.2.1 (merged)",
    "strength={}",
    (
        _SKIPPED,
        Case(
            Files(pairs=(A_B, BARE_A_B, NAMED_A_B, DOWN_UP)),
            Scales(
                "FastVideo 0.2.1 models/loader/lora_patch.py normalize_lora_key; docs/fastvideo.md",
                (Statement.LORA_ALPHA, Statement.ALPHA),
                zero=Zero.ONE,
                whole=True,
                kinds=LINEAR,
                loses_renamed=True,
                note=_NAMES,
            ),
        ),
    ),
    aliases=("fastvideo",),
)
