"""diffusers since 2025-06: the PEFT configuration as JSON in the file's metadata."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Factors
from lorascale_lint.adapters.formats.convention import Convention
from lorascale_lint.adapters.formats.peft_directory import config_stated
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource

_KEY = "lora_adapter_metadata"


class DiffusersMetadata(Convention):
    """`lora_adapter_metadata`, each entry with the name of the component before it."""

    name = "diffusers"
    title = "diffusers"

    def recognise(self, source: AdapterSource) -> str | None:
        return f"`{_KEY}` in the file's metadata" if source.json_metadata(_KEY) else None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        component, dot, module = factors.name.partition(".")
        every = source.json_metadata(_KEY)
        prefix = component + dot
        config = {
            key.removeprefix(prefix): value for key, value in every.items() if dot and key.startswith(prefix)
        }
        if "lora_alpha" not in config:
            # Adapters of a bare model have no component before the name.
            config, module = dict(every), factors.name
        if "lora_alpha" not in config:
            return super().stated(source, factors)
        found = config_stated(config, module)
        return Stated(
            AlphaSource.METADATA, f"{_KEY}: {found.key}", found.alpha,
            rslora=found.rslora, dora=found.dora, rank=found.rank,
        )  # fmt: skip
