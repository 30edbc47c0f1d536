"""PEFT's names in a file that has lost its adapter_config.json."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, beginning
from lorascale_lint.adapters.source import ADAPTER_CONFIG, AdapterSource


class PeftKeys(Format):
    """`base_model.model.` names alone."""

    name = "peft-keys"

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, ["base_model.model."])
        return f"names such as `{key}`, without {ADAPTER_CONFIG}" if key else None
