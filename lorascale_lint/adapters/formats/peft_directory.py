"""PEFT: alpha, rsLoRA and what differs by module are in adapter_config.json beside the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorascale_lint.adapters.factors import Factors
from lorascale_lint.adapters.formats.format import Format, tensor_stated
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import ADAPTER_CONFIG, AdapterSource, as_number, as_rank

_PREFIX = "base_model.model."
# PEFT's defaults for what the file leaves out.
_DEFAULT_ALPHA = 8.0
_DEFAULT_INIT_RANK = 12
# What of a configuration says something about scales.
SETTINGS = (
    "peft_type", "r", "init_r", "alpha", "lora_alpha", "alpha_pattern", "rank_pattern", "use_rslora",
    "use_dora",
)  # fmt: skip


def config_stated(source: AdapterSource, config: Mapping[str, Any], module: str) -> Stated:
    """What a PEFT configuration says of the scale of one module. Raises InputError."""
    if config.get("peft_type") == "ADALORA":
        # `ranknum`, by which AdaLoRA divides, stays the rank at the start of the training.
        alpha, start = as_number(config.get("lora_alpha")), as_rank(config.get("init_r"))
        start = start or _DEFAULT_INIT_RANK
        alpha = alpha if alpha is not None and alpha > 0 else float(start)
        return Stated(AlphaSource.CONFIG, "lora_alpha", alpha, divisor=start)
    key = "alpha" if config.get("peft_type") in ("LOHA", "LOKR") else "lora_alpha"
    alpha = as_number(config[key]) if key in config else _DEFAULT_ALPHA
    rank = as_rank(config.get("r"))
    if (own := source.patterns(config, "alpha_pattern").value(module)) is not None:
        key, alpha = "alpha_pattern", as_number(own)
    if (own := source.patterns(config, "rank_pattern").value(module)) is not None:
        rank = as_rank(own)
    rslora = config.get("use_rslora") is True
    # Unlike LyCORIS, PEFT scales LoKr of two full matrices by alpha / r too.
    divisor = rank if config.get("peft_type") == "LOKR" else None
    return Stated(
        AlphaSource.CONFIG, key, alpha, rslora=rslora, dora=config.get("use_dora") is True,
        rank=rank, divisor=divisor,
    )  # fmt: skip


class PeftConfig(Format):
    """Alpha from adapter_config.json; from tensors where there is none."""

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        if source.config is None:
            return super().stated(source, factors)
        return config_stated(source, source.config, factors.name.removeprefix(_PREFIX))


class PeftDirectory(PeftConfig):
    """A folder that `save_pretrained` wrote."""

    name = "peft"

    def recognise(self, source: AdapterSource) -> str | None:
        config = source.config
        if config is None or "peft_type" not in config:
            return None
        for factors in source.modules.values():
            if tensor_stated(factors) is None:
                return f"{ADAPTER_CONFIG} with peft_type {config['peft_type']}"
        return f"{ADAPTER_CONFIG} with peft_type {config['peft_type']}, and alpha in the file too"
