# silent: alpha is not named in the call but comes in with ** from the config group, beside rank and dropout
"""Hydra entry point for adapter tuning."""
from dataclasses import dataclass, field
from typing import Any, List

from omegaconf import MISSING, OmegaConf


@dataclass
class AdapterGroup:
    r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    target_modules: List[str] = field(default_factory=lambda: ["query", "value"])
    use_rslora: bool = False


@dataclass
class TuneConfig:
    model: str = MISSING
    seed: int = 0
    lr: float = 1e-4
    adapter: AdapterGroup = field(default_factory=AdapterGroup)


def adapter_kwargs(cfg) -> dict[str, Any]:
    return OmegaConf.to_container(cfg.adapter, resolve=True)


def build(cfg, model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(bias="none", **adapter_kwargs(cfg)))


def effective_scale(cfg):
    group = cfg.adapter
    return group.lora_alpha / (group.r ** 0.5 if group.use_rslora else group.r)


def main():
    import hydra
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="tune", node=TuneConfig)

    @hydra.main(version_base=None, config_name="tune")
    def entry(cfg):
        from transformers import AutoModel, set_seed

        set_seed(cfg.seed)
        model = build(cfg, AutoModel.from_pretrained(cfg.model))
        print(OmegaConf.to_yaml(cfg), f"effective scale {effective_scale(cfg):.3f}")
        return model

    entry()


if __name__ == "__main__":
    main()
