"""InvokeAI: a converter for each kind of model, and one rule for the scale."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK
from lorascale_lint.knowledge.reading import Case, Files, Loader, Scales, Statement

INVOKEAI = Loader(
    "invokeai",
    "InvokeAI",
    "weight={}",
    (
        Case(
            Files(conventions=("kohya",)),
            Scales(
                "InvokeAI @ 8e71a8a5 backend/patches/layers/lora_layer_base.py:49-53: missing is 1.0",
                (Statement.ALPHA,),
                kinds=LOW_RANK | KRONECKER,
            ),
        ),
    ),
)
