"""FastVideo: `.lora_alpha` beside `.lora_A` and `.lora_B`."""

from __future__ import annotations

from lorascale_lint.adapters.formats.convention import Convention, having
from lorascale_lint.adapters.source import AdapterSource


class FastVideo(Convention):
    """`.lora_alpha` (one number) and, from its extraction script, `.lora_rank`."""

    name = "fastvideo"
    title = "FastVideo"

    def recognise(self, source: AdapterSource) -> str | None:
        key = having(source, "lora_alpha", "lora_rank")
        return f"`{key}`" if key else None
