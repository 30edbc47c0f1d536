"""diffusers since 2025-06: the PEFT configuration as JSON in the file's metadata."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Factors
from lorascale_lint.adapters.formats.format import Format
from lorascale_lint.adapters.formats.peft_directory import SETTINGS, config_stated
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource

_KEY = "lora_adapter_metadata"


class DiffusersMetadata(Format):
    """`lora_adapter_metadata`, each entry with the name of the component before it."""

    name = "diffusers"

    def recognise(self, source: AdapterSource) -> str | None:
        return f"`{_KEY}` in the file's metadata" if source.json_metadata(_KEY) else None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        component, dot, module = factors.name.partition(".")
        every = source.json_metadata(_KEY)
        prefix = component + dot
        if not dot or f"{prefix}lora_alpha" not in every:
            # Adapters of a bare model have no component before the name.
            prefix, module = "", factors.name
        if f"{prefix}lora_alpha" not in every:
            return super().stated(source, factors)
        config = {key: every[prefix + key] for key in SETTINGS if prefix + key in every}
        found = config_stated(source, config, module)
        return Stated(
            AlphaSource.METADATA, f"{_KEY}: {found.key}", found.alpha,
            rslora=found.rslora, dora=found.dora, rank=found.rank,
        )  # fmt: skip
