"""diffusers before 2025-06: PEFT's names after the component, and alpha is lost."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, beginning
from lorascale_lint.adapters.source import AdapterSource

_COMPONENTS = ("unet.", "transformer.", "transformer_2.", "text_encoder.", "text_encoder_2.", "prior.")


class DiffusersPlain(Format):
    """`transformer.` or `unet.` names without `lora_adapter_metadata`."""

    name = "diffusers-plain"

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, _COMPONENTS)
        return f"names such as `{key}`, without `lora_adapter_metadata`" if key else None
