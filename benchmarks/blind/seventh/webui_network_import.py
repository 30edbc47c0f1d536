# silent: ranks and alphas are both written as patterns, with the commonest value of each as the default, so each module keeps alpha / rank
"""Import a web-ui network file as a PEFT adapter."""
import json
import re
from collections import Counter
from dataclasses import dataclass, field

import torch


@dataclass
class Entry:
    down: torch.Tensor = None
    up: torch.Tensor = None
    alpha: float = None

    @property
    def rank(self):
        return self.down.shape[0]


@dataclass
class Network:
    entries: dict = field(default_factory=dict)

    @classmethod
    def parse(cls, tensors):
        net = cls()
        for key, t in tensors.items():
            name, leaf = key.split(".", 1)
            e = net.entries.setdefault(name, Entry())
            if leaf == "alpha":
                e.alpha = t.item()
            elif leaf.startswith("lora_down"):
                e.down = t
            elif leaf.startswith("lora_up"):
                e.up = t
        for e in net.entries.values():
            if e.alpha is None:
                e.alpha = float(e.rank)
        return net

    def to_peft(self, rename):
        rank = Counter(e.rank for e in self.entries.values()).most_common(1)[0][0]
        alpha = Counter(e.alpha for e in self.entries.values()).most_common(1)[0][0]
        cfg = dict(peft_type="LORA", r=rank, lora_alpha=alpha, rank_pattern={}, alpha_pattern={}, target_modules=[])
        weights = {}
        for name, e in self.entries.items():
            path = rename(name)
            cfg["target_modules"].append(path)
            anchored = "^" + re.escape(path)
            if e.rank != rank:
                cfg["rank_pattern"][anchored] = e.rank
            if e.alpha != alpha:
                cfg["alpha_pattern"][anchored] = e.alpha
            weights[f"base_model.model.{path}.lora_A.weight"] = e.down
            weights[f"base_model.model.{path}.lora_B.weight"] = e.up
        return weights, cfg


def dump_config(cfg, path):
    with open(path, "w") as fh:
        json.dump(cfg, fh, indent=1, sort_keys=True)
