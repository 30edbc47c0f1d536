"""A1111 and what came of it."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK, Kind
from lorascale_lint.knowledge.reading import Case, Files, Loader, Scales, Statement

A1111 = Loader(
    "a1111",
    "A1111, Forge, SD.Next",
    "<lora:NAME:{}>",
    (
        Case(
            Files(conventions=("kohya", "lycoris")),
            Scales(
                "stable-diffusion-webui-forge @ dfdcbab6: .scale before .alpha, missing is 1.0",
                (Statement.SCALE, Statement.ALPHA),
                kinds=LOW_RANK | KRONECKER | {Kind.GLORA},
                cores=True,
            ),
        ),
    ),
    aliases=("forge", "sdnext"),
)
