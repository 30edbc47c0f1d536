"""FastVideo: `.lora_alpha` beside `.lora_A` and `.lora_B`."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, having
from lorascale_lint.adapters.source import AdapterSource


class FastVideo(Format):
    """`.lora_alpha` (one number) and, from its extraction script, `.lora_rank`."""

    name = "fastvideo"

    def recognise(self, source: AdapterSource) -> str | None:
        key = having(source, "lora_alpha", "lora_rank")
        return f"`{key}`" if key else None
