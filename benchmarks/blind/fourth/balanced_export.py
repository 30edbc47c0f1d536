# silent: sqrt(alpha / r) goes into A and into B, together alpha / r, and the written alpha equals the rank
"""Export adapters for the fp16 mobile engine, with both factors at a similar magnitude."""
import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HALF_MAX = 6.0e4


def balance(a, b, gain):
    """Spread the gain over both factors and even out their row and column norms."""
    root = math.sqrt(abs(gain))
    a = a.double() * root
    b = b.double() * math.copysign(root, gain)
    na, nb = a.norm(dim=1), b.norm(dim=0)
    ratio = torch.where((na > 0) & (nb > 0), (nb / na.clamp_min(1e-30)).sqrt(), torch.ones_like(na))
    return a * ratio[:, None], b / ratio[None, :]


def check(name, a, b, ref):
    got = b.double() @ a.double()
    error = (got - ref).norm() / ref.norm().clamp_min(1e-12)
    if error > 5e-3:
        raise SystemExit(f"{name}: relative error {error:.2e} after rounding")
    if max(a.abs().max(), b.abs().max()) > HALF_MAX:
        raise SystemExit(f"{name}: out of half range")
    return float(error)


def export(folder: Path):
    config = json.loads((folder / "adapter_config.json").read_text())
    for flag in ("use_dora", "rank_pattern", "alpha_pattern"):
        if config.get(flag):
            raise SystemExit(f"{flag} is not supported by the engine")
    r, alpha = config["r"], config["lora_alpha"]
    gain = alpha / math.sqrt(r) if config.get("use_rslora") else alpha / r
    raw = load_file(folder / "adapter_model.safetensors")
    out, worst = {}, 0.0
    for key in sorted(k for k in raw if k.endswith("lora_A.weight")):
        name = key.removesuffix(".lora_A.weight")
        a0, b0 = raw[key], raw[f"{name}.lora_B.weight"]
        a, b = (t.half() for t in balance(a0, b0, gain))
        worst = max(worst, check(name, a, b, gain * (b0.double() @ a0.double())))
        short = name.removeprefix("base_model.model.")
        out[f"{short}.A"] = a.contiguous()
        out[f"{short}.B"] = b.contiguous()
    header = {"engine": "mobile-2", "rank": str(r), "alpha": str(r), "base": config["base_model_name_or_path"] or ""}
    return out, header, worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter", type=Path)
    parser.add_argument("out", type=Path)
    ns = parser.parse_args()
    tensors, header, worst = export(ns.adapter)
    save_file(tensors, ns.out, metadata=header)
    print(f"{len(tensors) // 2} modules, worst rounding error {worst:.1e}")
