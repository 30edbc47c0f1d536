"""mlx-lm: `lora_parameters.scale` of adapter_config.json multiplies the delta as it is."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Factors, Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource, as_number, as_rank


class Mlx(Format):
    """`lora_a` (in x rank) and `lora_b` (rank x out)."""

    name = "mlx"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.SMALL_A_B)
        return f"names such as `{key}`" if key else None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        parameters = (source.config or {}).get("lora_parameters")
        scale = as_number(parameters.get("scale")) if isinstance(parameters, dict) else None
        if scale is None or not isinstance(parameters, dict):
            return Stated()
        rank = as_rank(parameters.get("rank"))
        return Stated(AlphaSource.CONFIG, "lora_parameters.scale", scale=scale, rank=rank)
