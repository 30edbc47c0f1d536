"""kohya's sd-scripts, LyCORIS and OneTrainer: flattened names and an `.alpha` for each module."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from lorascale_lint.adapters.factors import Factors
from lorascale_lint.adapters.formats.format import Format, beginning, tensor_stated
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import AdapterSource, as_number

_PREFIXES = (
    "lora_unet_",
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lora_te3_",
    "lora_prior_",
    "lora_transformer_",
)


class Kohya(Format):
    """`lora_unet_*.lora_down.weight`, `.lora_up.weight`, `.alpha`."""

    name = "kohya"
    _prefixes: ClassVar[tuple[str, ...]] = _PREFIXES

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, self._prefixes)
        return f"names such as `{key}`" if key else None

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        # A1111 and stable-diffusion.cpp take `.scale` before `.alpha`; whoever writes it means it so.
        scale = factors.number("scale")
        if scale is not None:
            return Stated(AlphaSource.TENSOR, "scale", factors.number("alpha"), scale)
        found = tensor_stated(factors)
        if found is None:
            alpha = as_number(source.metadata.get("ss_network_alpha"))
            if alpha is not None and "conv_alpha" not in source.json_metadata("ss_network_args"):
                return Stated(AlphaSource.METADATA, "ss_network_alpha", alpha)
            return super().stated(source, factors)
        if factors.has("a1", "b1") and _rslora(source):
            # LyCORIS stores alpha times sqrt(dim) with `rs_lora`, but for GLoRA the alpha as it was given.
            return dataclasses.replace(found, rslora=True)
        return found


def _rslora(source: AdapterSource) -> bool:
    value = source.json_metadata("ss_network_args").get("rs_lora")
    return value is True or (isinstance(value, str) and value.lower() == "true")


class Lycoris(Kohya):
    """LyCORIS' own names: `lycoris_*` before any of its kinds of factors."""

    name = "lycoris"
    _prefixes = ("lycoris_",)
