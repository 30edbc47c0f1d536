"""XLabs (x-flux): processors of double and single blocks, without alpha and without scaling."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.source import AdapterSource


class XLabs(Format):
    """`double_blocks.0.processor.qkv_lora1.down.weight`."""

    name = "xlabs"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.PROCESSOR_DOWN_UP)
        if key is None or not key.startswith(("double_blocks.", "single_blocks.")):
            return None
        return f"names such as `{key}`"
