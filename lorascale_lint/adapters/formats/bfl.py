"""BFL's control LoRAs of Flux: factors with biases, and norm scales that have nothing to do with LoRA."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, having
from lorascale_lint.adapters.source import AdapterSource

_NORMS = (".query_norm.scale", ".key_norm.scale")


class Bfl(Format):
    """`lora_A.weight`, `lora_B.weight`, `lora_B.bias` and `norm.*.scale`."""

    name = "bfl"
    besides = _NORMS

    def recognise(self, source: AdapterSource) -> str | None:
        norm = next((name for name in source.header.tensors if name.endswith(_NORMS)), None)
        if norm is None or having(source, "down") is None:
            return None
        return f"norms such as `{norm}` beside factors"
