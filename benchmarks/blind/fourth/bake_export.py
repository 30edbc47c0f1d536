# wrong in line 48: the scale is baked into lora_up, yet the file keeps the training alpha instead of the rank, so readers apply alpha / rank again
"""Export a diffusion transformer's adapters to one file for the image backends."""
import argparse
import json
import logging
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

log = logging.getLogger("bake_export")


def read_adapter(folder: Path):
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = {}
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as f:
        for key in f.keys():
            tensors[key] = f.get_tensor(key)
    return config, tensors


def module_names(tensors):
    names = {k.removesuffix(".lora_A.weight") for k in tensors if k.endswith(".lora_A.weight")}
    return sorted(names)


def target_name(peft_name: str) -> str:
    path = peft_name.removeprefix("base_model.model.")
    return "diffusion_model." + path


def export(config, tensors, dtype=torch.bfloat16):
    for feature in ("use_dora", "rank_pattern", "alpha_pattern"):
        if config.get(feature):
            raise SystemExit(f"adapters with {feature} cannot be exported to this format")
    alpha = float(config["lora_alpha"])
    out = {}
    for name in module_names(tensors):
        down = tensors[f"{name}.lora_A.weight"].float()
        up = tensors[f"{name}.lora_B.weight"].float()
        rank = down.shape[0]
        gain = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
        key = target_name(name)
        out[f"{key}.lora_down.weight"] = down.to(dtype).contiguous()
        out[f"{key}.lora_up.weight"] = (up * gain).to(dtype).contiguous()
        out[f"{key}.alpha"] = torch.tensor(alpha, dtype=torch.float32)
    return out


def main():
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("adapter", type=Path, help="PEFT folder")
    ap.add_argument("output", type=Path)
    ap.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], default="bfloat16")
    args = ap.parse_args()

    config, tensors = read_adapter(args.adapter)
    out = export(config, tensors, getattr(torch, args.dtype))
    metadata = {
        "base_model": config.get("base_model_name_or_path") or "",
        "source": args.adapter.name,
    }
    save_file(out, args.output, metadata=metadata)
    size = args.output.stat().st_size / 2**20
    log.info("wrote %d modules (%.1f MiB) to %s", len(out) // 3, size, args.output)


if __name__ == "__main__":
    main()
