# wrong in line 31: alpha_pattern of adapter_config.json is never consulted while rank_pattern is, so patterned modules get the global alpha
"""Fold a downloaded PEFT adapter into the base checkpoint, tensor by tensor."""
import argparse
import json
import re
from math import sqrt
from pathlib import Path

from safetensors.torch import load_file, save_file


def resolve(patterns, module, fallback):
    for pat, value in patterns.items():
        if re.match(rf"(.*\.)?({pat})$", module):
            return value
    return fallback


class AdapterSpec:
    def __init__(self, folder: Path):
        raw = json.loads((folder / "adapter_config.json").read_text())
        if raw.get("use_dora"):
            raise SystemExit("DoRA adapters need the full model, use peft for these")
        self.r = raw["r"]
        self.lora_alpha = raw["lora_alpha"]
        self.rslora = bool(raw.get("use_rslora", False))
        self.ranks = raw.get("rank_pattern") or {}

    def gain(self, module: str) -> float:
        r = resolve(self.ranks, module, self.r)
        numerator = self.lora_alpha
        return numerator / sqrt(r) if self.rslora else numerator / r


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("base", type=Path)
    ap.add_argument("adapter", type=Path)
    ap.add_argument("out", type=Path)
    args = ap.parse_args()

    spec = AdapterSpec(args.adapter)
    weights = load_file(args.base)
    factors = load_file(args.adapter / "adapter_model.safetensors")
    prefix = "base_model.model."

    for key in sorted(k for k in factors if k.endswith(".lora_A.weight")):
        module = key[len(prefix):-len(".lora_A.weight")]
        right = factors[key].float()
        left = factors[key.replace("lora_A", "lora_B")].float()
        target = weights[f"{module}.weight"]
        update = spec.gain(module) * (left @ right)
        weights[f"{module}.weight"] = (target.float() + update).to(target.dtype)
        print(f"{module}: {tuple(right.shape)}")

    save_file(weights, args.out, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
