# wrong in lines 31 and 34: ranks differ per module and are recorded, but the alphas that differ are not, every module gets the first module's alpha
"""Turn a kohya-style network into a PEFT adapter folder."""
import argparse
import json
from collections import Counter
from pathlib import Path

from safetensors.torch import load_file, save_file


def module_path(flat: str, names) -> str:
    return names[flat.removeprefix("lora_unet_")]


def convert(state_dict, names):
    ranks, alphas, out = {}, {}, {}
    for key, value in state_dict.items():
        flat, _, leaf = key.partition(".")
        path = module_path(flat, names)
        if leaf == "lora_down.weight":
            out[f"base_model.model.{path}.lora_A.weight"] = value
            ranks[path] = value.shape[0]
        elif leaf == "lora_up.weight":
            out[f"base_model.model.{path}.lora_B.weight"] = value
        elif leaf == "alpha":
            alphas[path] = float(value)
    r = Counter(ranks.values()).most_common(1)[0][0]
    config = {
        "peft_type": "LORA",
        "r": r,
        "lora_alpha": next(iter(alphas.values())),
        "target_modules": sorted(ranks),
        "rank_pattern": {p: n for p, n in ranks.items() if n != r},
        "alpha_pattern": {},
        "use_rslora": False,
        "bias": "none",
    }
    return out, config


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src", type=Path)
    ap.add_argument("dst", type=Path)
    ap.add_argument("--names", type=Path, help="json: flattened name -> module path")
    args = ap.parse_args()
    tensors, config = convert(load_file(args.src), json.loads(args.names.read_text()))
    args.dst.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.dst / "adapter_model.safetensors")
    (args.dst / "adapter_config.json").write_text(json.dumps(config, indent=2))


if __name__ == "__main__":
    main()
