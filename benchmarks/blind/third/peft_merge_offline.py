# wrong in line 24: the offline merger divides by r even when adapter_config.json says use_rslora
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file


class Adapter:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.config = json.loads((folder / "adapter_config.json").read_text())
        self.tensors = load_file(folder / "adapter_model.safetensors")
        if self.config.get("peft_type") != "LORA":
            raise ValueError("only LORA adapters can be merged")
        if self.config.get("use_dora"):
            raise ValueError("DoRA adapters are not supported")
        if self.config.get("rank_pattern") or self.config.get("alpha_pattern"):
            raise ValueError("per-module ranks are not supported")

    @property
    def scaling(self):
        return self.config["lora_alpha"] / self.config["r"]

    def targets(self):
        suffix = ".lora_A.weight"
        return [k[: -len(suffix)] for k in self.tensors if k.endswith(suffix)]

    def delta(self, name):
        a = self.tensors[name + ".lora_A.weight"].float()
        b = self.tensors[name + ".lora_B.weight"].float()
        if self.config.get("fan_in_fan_out"):
            return (b @ a).T * self.scaling
        return (b @ a) * self.scaling


def merge(base_file, adapter_dir, out_file):
    adapter = Adapter(adapter_dir)
    base = load_file(base_file)
    for name in adapter.targets():
        key = name.removeprefix("base_model.model.") + ".weight"
        w = base[key]
        base[key] = (w.float() + adapter.delta(name)).to(w.dtype).contiguous()
    save_file(base, out_file, metadata={"format": "pt"})


if __name__ == "__main__":
    merge(*sys.argv[1:4])
