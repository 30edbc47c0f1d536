"""Adapter registry of the inference server; reads PEFT folders."""
import json
import pathlib
from dataclasses import dataclass

from safetensors.torch import load_file


@dataclass
class Adapter:
    name: str
    config: dict
    tensors: dict

    def pair(self, layer):
        stem = f"base_model.model.{layer}"
        a = self.tensors.get(f"{stem}.lora_A.weight")
        if a is None:
            return None
        return a, self.tensors[f"{stem}.lora_B.weight"]


class Registry:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.adapters = {}

    def get(self, name) -> Adapter:
        if name not in self.adapters:
            folder = self.root / name
            config = json.loads((folder / "adapter_config.json").read_text())
            if config.get("use_rslora") or config.get("alpha_pattern") or config.get("rank_pattern"):
                raise ValueError(f"{name}: only uniform adapters with alpha / r are served")
            self.adapters[name] = Adapter(name, config, load_file(folder / "adapter_model.safetensors"))
        return self.adapters[name]
