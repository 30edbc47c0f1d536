"""LongCat-Video: a strict load, `.alpha_scale` is the scale itself."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import DOWN_UP
from lorascale_lint.knowledge.reading import Case, Files, Loader, Missing, Refuses, Scales, Statement

LONGCAT = Loader(
    "longcat",
    "LongCat-Video",
    "multiplier={}",
    (
        Case(
            Files(conventions=("longcat",), begin=("lora___lorahyphen___",), pairs=(DOWN_UP,)),
            Scales(
                "LongCat-Video @ 6b3f4b8 modules/longcat_video_dit.py load_lora: strict, so .alpha_scale "
                "of the file replaces what modules/lora_utils.py computed; docs/verification",
                (Statement.ALPHA_SCALE,),
                Missing.REFUSED,
                one_rank=True,
            ),
        ),
        Case(
            Files(but_not=("lora___lorahyphen___",)),
            Refuses(
                "LongCat-Video @ 6b3f4b8 modules/longcat_video_dit.py load_lora: strict; docs/verification",
                "it takes its own names alone",
            ),
        ),
    ),
    note="`lora_network_alpha` is an alpha, and the file's `.alpha_scale` replaces it",
)
