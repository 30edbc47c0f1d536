"""LongCat-Video: `.alpha_scale` holds alpha / rank itself."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, beginning, having
from lorascale_lint.adapters.source import AdapterSource


class LongCat(Format):
    """`lora___lorahyphen___` names, one `lora_up.blocks.{i}` for each fused branch."""

    name = "longcat"

    def recognise(self, source: AdapterSource) -> str | None:
        if key := beginning(source, ["lora___lorahyphen___"]):
            return f"names such as `{key}`"
        if key := having(source, "alpha_scale"):
            return f"`{key}` holds alpha / rank"
        return None
