"""torchtune: `lora_a.weight`, `lora_b.weight`; alpha in an adapter_config.json like PEFT's."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.format import spelled
from lorascale_lint.adapters.formats.peft_directory import PeftConfig
from lorascale_lint.adapters.source import AdapterSource


class Torchtune(PeftConfig):
    """Small letters with `.weight`."""

    name = "torchtune"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.SMALL_A_B_WEIGHT)
        return f"names such as `{key}`" if key else None
