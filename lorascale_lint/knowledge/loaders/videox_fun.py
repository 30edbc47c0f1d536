"""VideoX-Fun's merge."""

from __future__ import annotations

from lorascale_lint.knowledge.reading import Case, Divisor, Files, Loader, Scales, Statement

VIDEOX_FUN = Loader(
    "videox-fun",
    "VideoX-Fun",
    "multiplier={}",
    (
        Case(
            Files(conventions=("kohya",)),
            Scales(
                "VideoX-Fun @ 804a425: merge_lora, alpha over the columns of B, missing is 1",
                (Statement.ALPHA,),
                divisor=Divisor.COLUMNS,
            ),
        ),
    ),
)
