"""llama.cpp's adapters: one alpha for the file."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Factors, Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource, as_number

_ALPHA = "adapter.lora.alpha"


class Gguf(Format):
    """`blk.0.attn_q.weight.lora_a`, and `adapter.lora.alpha` among the settings of the file."""

    name = "gguf"

    def recognise(self, source: AdapterSource) -> str | None:
        if source.metadata.get("general.type") != "adapter" and _ALPHA not in source.metadata:
            return None
        key = spelled(source, Spelling.SMALL_A_B)
        return f"an adapter's settings, and names such as `{key}`" if key else None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        alpha = as_number(source.metadata.get(_ALPHA))
        return Stated() if alpha is None else Stated(AlphaSource.METADATA, _ALPHA, alpha)
