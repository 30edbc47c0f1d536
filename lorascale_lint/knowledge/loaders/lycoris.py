"""LyCORIS' own loader and merge."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK, Kind
from lorascale_lint.knowledge.reading import (
    Case,
    Files,
    Loader,
    Missing,
    Models,
    Scales,
    Skips,
    Statement,
    Zero,
)

LYCORIS = Loader(
    "lycoris",
    "LyCORIS (merged)",
    "multiplier={}",
    (
        Case(
            Files(conventions=("kohya", "lycoris")),
            Scales(
                "LyCORIS @ f49d30d modules/loha.py, lokr.py get_diff_weight; measured with 4.1.3",
                (Statement.ALPHA,),
                Missing.REFUSED,
                zero=Zero.ONE,
                kinds=LOW_RANK | KRONECKER,
                cores=True,
                squared=frozenset({Kind.LOHA, Kind.LOKR}),
                note="merging scales LoHa and LoKr twice; the unmerged forward is right",
            ),
        ),
        Case(
            Files(
                conventions=(
                    "plain",
                    "diffsynth",
                    "fastvideo",
                    "down-up",
                    "bare",
                    "comfy",
                    "longcat",
                    "peft",
                    "peft-keys",
                    "diffusers",
                    "diffusers-plain",
                )
            ),
            Skips(
                "LyCORIS @ f49d30d wrapper.py create_lycoris_from_weights: a name up to its first dot is a "
                "module's; docs/verification"
            ),
        ),
    ),
    models=Models.ANY,
)
