# wrong in line 36: the blend weight multiplies both factors of an adapter, so it enters the sum squared
"""Blend several PEFT adapters of one base into a single adapter by concatenation.

    python blend_np.py out/ poetry/:0.7 law/:0.3
"""
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

A, B = ".lora_A.weight", ".lora_B.weight"


class Adapter:
    def __init__(self, folder, weight):
        self.folder = Path(folder)
        self.weight = weight
        self.config = json.loads((self.folder / "adapter_config.json").read_text())
        self.tensors = load_file(self.folder / "adapter_model.safetensors")
        if self.config.get("rank_pattern") or self.config.get("alpha_pattern"):
            raise SystemExit(f"{folder}: patterns are not supported")

    @property
    def scale(self):
        r, alpha = self.config["r"], self.config["lora_alpha"]
        return alpha / np.sqrt(r) if self.config.get("use_rslora") else alpha / r

    def modules(self):
        return {k.removesuffix(A) for k in self.tensors if k.endswith(A)}

    def factors(self, module):
        down = self.tensors[module + A].astype(np.float32)
        up = self.tensors[module + B].astype(np.float32)
        return down * self.weight, up * (self.scale * self.weight)


def blend(adapters):
    common = set.intersection(*(a.modules() for a in adapters))
    union = set.union(*(a.modules() for a in adapters))
    if common != union:
        raise SystemExit(f"adapters cover different modules, e.g. {sorted(union - common)[:3]}")
    out = {}
    for module in sorted(common):
        pairs = [a.factors(module) for a in adapters]
        out[module + A] = np.concatenate([p[0] for p in pairs], axis=0)
        out[module + B] = np.concatenate([p[1] for p in pairs], axis=1)
    return out


def config_for(adapters):
    config = dict(adapters[0].config)
    rank = sum(a.config["r"] for a in adapters)
    config.update(r=rank, lora_alpha=rank, use_rslora=False, lora_dropout=0.0)
    return config


def main(argv):
    if len(argv) < 3:
        raise SystemExit(__doc__)
    out = Path(argv[1])
    adapters = []
    for spec in argv[2:]:
        folder, _, weight = spec.rpartition(":")
        adapters.append(Adapter(folder, float(weight)))
    bases = {a.config.get("base_model_name_or_path") for a in adapters}
    if len(bases) > 1:
        raise SystemExit(f"different bases: {bases}")
    out.mkdir(parents=True, exist_ok=True)
    save_file(blend(adapters), out / "adapter_model.safetensors", metadata={"format": "pt"})
    (out / "adapter_config.json").write_text(json.dumps(config_for(adapters), indent=2))


if __name__ == "__main__":
    main(sys.argv)
