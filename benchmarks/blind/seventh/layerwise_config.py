# wrong in line 39: the pattern keys begin with base_model.model. which module names do not have when patterns are matched, so no alpha of the plan is used
"""Create a PEFT model with another alpha for each depth of the network."""
import json
from dataclasses import dataclass

import torch.nn as nn
from peft import LoraConfig, get_peft_model


@dataclass
class DepthPlan:
    rank: int = 8
    shallow: float = 8.0
    deep: float = 32.0
    boundary: float = 0.5

    @classmethod
    def from_json(cls, path):
        with open(path) as fh:
            return cls(**json.load(fh))

    def alpha_for(self, index, count):
        return self.shallow if index < self.boundary * count else self.deep


def linear_layers(model: nn.Module, container="layers"):
    """Yields (path, block index) of all linear layers inside the blocks."""
    for path, module in model.named_modules():
        parts = path.split(".")
        if isinstance(module, nn.Linear) and container in parts:
            yield path, int(parts[parts.index(container) + 1])


def make_config(model: nn.Module, plan: DepthPlan) -> LoraConfig:
    found = list(linear_layers(model))
    count = 1 + max(index for _, index in found)
    alphas = {}
    for path, index in found:
        alphas[f"base_model.model.{path}"] = plan.alpha_for(index, count)
    return LoraConfig(
        r=plan.rank,
        lora_alpha=plan.shallow,
        alpha_pattern=alphas,
        target_modules=[path for path, _ in found],
    )


def wrap(model: nn.Module, plan: DepthPlan):
    peft_model = get_peft_model(model, make_config(model, plan))
    peft_model.print_trainable_parameters()
    return peft_model
