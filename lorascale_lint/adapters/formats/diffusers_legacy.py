"""diffusers before PEFT: attention processors and `lora_linear_layer`, without alpha."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.source import AdapterSource


class DiffusersLegacy(Format):
    """`to_q_lora.down.weight`, `to_q.lora.down.weight`, `lora_linear_layer.up.weight`."""

    name = "diffusers-legacy"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.LORA_DOWN_UP, Spelling.LAYER_DOWN_UP, Spelling.PROCESSOR_DOWN_UP)
        return f"names such as `{key}`" if key else None
