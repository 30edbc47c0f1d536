"""PEFT's names in a file that has lost its adapter_config.json."""

from __future__ import annotations

from lorascale_lint.adapters.formats.convention import Convention, beginning
from lorascale_lint.adapters.source import ADAPTER_CONFIG, AdapterSource


class PeftKeys(Convention):
    """`base_model.model.` names alone."""

    name = "peft-keys"
    title = "PEFT names in a single file"

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, ["base_model.model."])
        return f"names such as `{key}`, without {ADAPTER_CONFIG}" if key else None
