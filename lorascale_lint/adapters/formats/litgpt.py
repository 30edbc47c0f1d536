"""litgpt: bare `lora_A` and `lora_B`; alpha in hyperparameters.yaml."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Factors, Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import HYPERPARAMETERS, AdapterSource, as_number, as_rank


class Litgpt(Format):
    """`transformer.h.0.attn.qkv.lora_A`, fused branches on one another in A."""

    name = "litgpt"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.BARE_A_B)
        if key is None:
            return None
        if source.hyperparameters is not None and "lora_r" in source.hyperparameters:
            return f"names such as `{key}`, and `lora_r` in {HYPERPARAMETERS}"
        if key.startswith(("transformer.h.", "lm_head.")):
            return f"names such as `{key}`"
        return None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        settings = source.hyperparameters or {}
        alpha = as_number(settings.get("lora_alpha"))
        if alpha is None:
            return super().stated(source, factors)
        return Stated(AlphaSource.CONFIG, "lora_alpha", alpha, rank=as_rank(settings.get("lora_r")))
