"""What an adapter_config.json promises about one module."""
import re


def module_of(stem):
    return stem.removeprefix("base_model.model.")


def lookup(patterns, module, default):
    for rx, value in (patterns or {}).items():
        if re.match(rf"(?:.*\.)?(?:{rx})$", module):
            return value
    return default


def factor_of(cfg, module):
    rank = lookup(cfg.get("rank_pattern"), module, cfg["r"])
    alpha = lookup(cfg.get("alpha_pattern"), module, cfg["lora_alpha"])
    return alpha / (rank ** 0.5 if cfg.get("use_rslora") else rank)
