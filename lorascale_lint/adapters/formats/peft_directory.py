"""PEFT: alpha, rsLoRA and what differs by module are in adapter_config.json beside the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lorascale_lint.adapters.factors import Factors
from lorascale_lint.adapters.formats.convention import Convention, tensor_stated
from lorascale_lint.adapters.module import AlphaSource, Stated
from lorascale_lint.adapters.source import ADAPTER_CONFIG, AdapterSource, as_number, as_rank

_PREFIX = "base_model.model."
# PEFT's defaults for what the file leaves out.
_DEFAULT_ALPHA = 8.0
_DEFAULT_INIT_RANK = 12
_LONGEST_PATTERN = 500
_LONGEST_NAME = 1000
_MOST_CHOICES = 4
# What makes a search go back and try again.
_CHOICE = re.compile(r"[*+{(]|(?<!\()\?")
_REPEATED_GROUP = re.compile(r"\)[*+{]")


def config_stated(config: Mapping[str, Any], module: str) -> Stated:
    """What a PEFT configuration says of the scale of one module."""
    if config.get("peft_type") == "ADALORA":
        # `ranknum`, by which AdaLoRA divides, stays the rank at the start of the training.
        alpha, start = as_number(config.get("lora_alpha")), as_rank(config.get("init_r"))
        start = start or _DEFAULT_INIT_RANK
        alpha = alpha if alpha is not None and alpha > 0 else float(start)
        return Stated(AlphaSource.CONFIG, "lora_alpha", alpha, divisor=start)
    key = "alpha" if config.get("peft_type") in ("LOHA", "LOKR") else "lora_alpha"
    alpha = as_number(config[key]) if key in config else _DEFAULT_ALPHA
    rank = as_rank(config.get("r"))
    if (own := _by_pattern(config.get("alpha_pattern"), module)) is not None:
        key, alpha = "alpha_pattern", as_number(own)
    if (own := _by_pattern(config.get("rank_pattern"), module)) is not None:
        rank = as_rank(own)
    rslora = config.get("use_rslora") is True
    # Unlike LyCORIS, PEFT scales LoKr of two full matrices by alpha / r too.
    divisor = rank if config.get("peft_type") == "LOKR" else None
    return Stated(
        AlphaSource.CONFIG, key, alpha, rslora=rslora, dora=config.get("use_dora") is True,
        rank=rank, divisor=divisor,
    )  # fmt: skip


def _by_pattern(patterns: object, module: str) -> Any:
    """The first pattern's value that fits, as PEFT's `get_pattern_key` finds it."""
    if not isinstance(patterns, dict):
        return None
    for pattern, value in patterns.items():
        if pattern == module or _fits(pattern, module):
            return value
    return None


def _fits(pattern: str, module: str) -> bool:
    if not is_harmless(pattern) or len(module) > _LONGEST_NAME:
        return False
    try:
        # The anchor `^` of a pattern holds only without the prefix group before it.
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def is_harmless(pattern: str) -> bool:
    """Whether a pattern from a file can be matched without taking for ever."""
    if len(pattern) > _LONGEST_PATTERN or _REPEATED_GROUP.search(pattern):
        return False
    return len(_CHOICE.findall(pattern)) <= _MOST_CHOICES


class PeftConfig(Convention):
    """Alpha from adapter_config.json; from tensors where there is none."""

    def stated(self, source: AdapterSource, factors: Factors) -> Stated:
        if source.config is None:
            return super().stated(source, factors)
        return config_stated(source.config, factors.name.removeprefix(_PREFIX))


class PeftDirectory(PeftConfig):
    """A folder that `save_pretrained` wrote."""

    name = "peft"
    title = "PEFT directory"

    def recognise(self, source: AdapterSource) -> str | None:
        config = source.config
        if config is None or "peft_type" not in config:
            return None
        for factors in source.modules.values():
            if tensor_stated(factors) is None:
                return f"{ADAPTER_CONFIG} with peft_type {config['peft_type']}"
        return f"{ADAPTER_CONFIG} with peft_type {config['peft_type']}, and alpha in the file too"
