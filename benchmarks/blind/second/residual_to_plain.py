# silent: B1 A1 - B0 A0 has rank 2r, alpha is doubled (times sqrt 2 for rsLoRA) so the factor is unchanged
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def doubled(trained, initial):
    out = {}
    for key, value in trained.items():
        start = initial[key]
        if ".lora_A." in key:
            out[key] = torch.cat([value, start], dim=0).contiguous()
        elif ".lora_B." in key:
            out[key] = torch.cat([value, -start], dim=1).contiguous()
        else:
            raise KeyError(key)
    return out


def main(trained, initial, target):
    trained, initial, target = Path(trained), Path(initial), Path(target)
    cfg = json.loads((trained / "adapter_config.json").read_text())
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise SystemExit("patterns are not supported")
    name = "adapter_model.safetensors"
    tensors = doubled(load_file(trained / name), load_file(initial / name))
    cfg["r"] *= 2
    cfg["lora_alpha"] *= math.sqrt(2) if cfg.get("use_rslora") else 2
    cfg["init_lora_weights"] = True
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / name)
    (target / "adapter_config.json").write_text(json.dumps(cfg, indent=2))


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:4])
