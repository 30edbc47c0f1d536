# silent: weights and scales of the sources go into B, the new config has lora_alpha == r and use_rslora switched off
"""Stack domain adapters of one base into a single PEFT adapter (exact weighted sum)."""
import argparse
import dataclasses
import json
import logging
from pathlib import Path

import torch
from peft import LoraConfig
from peft.utils import load_peft_weights
from safetensors.torch import save_file

log = logging.getLogger("stack")


@dataclasses.dataclass
class Expert:
    folder: str
    weight: float
    config: LoraConfig
    state: dict

    @classmethod
    def open(cls, spec):
        folder, _, weight = spec.partition("@")
        config = LoraConfig.from_pretrained(folder)
        if config.use_dora:
            raise SystemExit(f"{folder}: DoRA adapters cannot be stacked")
        if config.alpha_pattern or config.rank_pattern:
            raise SystemExit(f"{folder}: patterns are not supported")
        return cls(folder, float(weight or 1.0), config, load_peft_weights(folder, device="cpu"))

    @property
    def scaling(self):
        r = self.config.r
        return self.config.lora_alpha / (r**0.5 if self.config.use_rslora else r)

    def stems(self):
        return {k.removesuffix(".lora_A.weight") for k in self.state if k.endswith(".lora_A.weight")}


def stack(experts):
    total = sum(e.config.r for e in experts)
    out = {}
    for stem in sorted(set().union(*(e.stems() for e in experts))):
        downs, ups = [], []
        have = [e for e in experts if stem in e.stems()]
        for e in have:
            downs.append(e.state[f"{stem}.lora_A.weight"].float())
            ups.append(e.state[f"{stem}.lora_B.weight"].float() * (e.weight * e.scaling))
        a, b = torch.cat(downs, 0), torch.cat(ups, 1)
        pad = total - a.shape[0]
        if pad:
            a = torch.nn.functional.pad(a, (0, 0, 0, pad))
            b = torch.nn.functional.pad(b, (0, pad))
        out[f"{stem}.lora_A.weight"] = a.contiguous()
        out[f"{stem}.lora_B.weight"] = b.contiguous()
    return out, total


def stacked_config(experts, rank):
    targets = set()
    for e in experts:
        t = e.config.target_modules
        targets.update([t] if isinstance(t, str) else t)
    return dataclasses.replace(
        experts[0].config,
        r=rank,
        lora_alpha=rank,
        use_rslora=False,
        lora_dropout=0.0,
        target_modules=sorted(targets),
        init_lora_weights=True,
    )


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("experts", nargs="+", help="folder or folder@weight")
    ap.add_argument("--out", type=Path, required=True)
    args = ap.parse_args()
    experts = [Expert.open(s) for s in args.experts]
    bases = {e.config.base_model_name_or_path for e in experts}
    if len(bases) != 1:
        raise SystemExit(f"several bases: {bases}")
    state, rank = stack(experts)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(state, args.out / "adapter_model.safetensors", metadata={"format": "pt"})
    stacked_config(experts, rank).save_pretrained(args.out)
    summary = {e.folder: e.weight for e in experts}
    log.info("rank %d, %d modules: %s", rank, len(state) // 2, json.dumps(summary))


if __name__ == "__main__":
    main()
