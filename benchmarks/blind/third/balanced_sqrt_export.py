# silent: sqrt(scale) goes to each of A and B, the product has the scale once, and lora_alpha is written as r
import json
import math
from pathlib import Path

from safetensors.torch import load_file, save_file


def scaling_of(cfg):
    r, alpha = cfg["r"], cfg["lora_alpha"]
    if cfg.get("use_rslora"):
        return alpha / math.sqrt(r)
    return alpha / r


def normalise(src, dst):
    """Rewrite an adapter so that its scaling is exactly 1."""
    src, dst = Path(src), Path(dst)
    cfg = json.loads((src / "adapter_config.json").read_text())
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern") or cfg.get("use_dora") or cfg.get("lora_bias"):
        raise SystemExit("only plain adapters can be normalised")
    root = math.sqrt(scaling_of(cfg))
    tensors = {}
    for key, value in load_file(src / "adapter_model.safetensors").items():
        if ".lora_" in key:
            value = (value.float() * root).to(value.dtype)
        tensors[key] = value
    dst.mkdir(parents=True, exist_ok=True)
    save_file(tensors, dst / "adapter_model.safetensors", metadata={"format": "pt"})
    cfg["lora_alpha"] = cfg["r"]
    cfg["use_rslora"] = False
    (dst / "adapter_config.json").write_text(json.dumps(cfg, indent=2))


if __name__ == "__main__":
    import sys
    normalise(sys.argv[1], sys.argv[2])
