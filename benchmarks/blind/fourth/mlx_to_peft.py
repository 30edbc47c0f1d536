# wrong in line 51: mlx scale is the whole factor in front of B A, PEFT divides lora_alpha by r again, so lora_alpha must be scale * rank
"""Turn an mlx-lm adapter folder into a PEFT adapter folder.

mlx keeps lora_a as (in, r) and lora_b as (r, out); PEFT wants the transposes.
The layer computes  y = x W.T + scale * (x lora_a) lora_b.
"""
import argparse
import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LAYER = re.compile(r"^(?P<path>.+)\.lora_(?P<side>[ab])$")


def load_mlx(folder: Path):
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("fine_tune_type", "lora") != "lora":
        raise SystemExit(f"cannot convert a {config['fine_tune_type']} adapter")
    weights = load_file(folder / "adapters.safetensors")
    return config, weights


def convert_weights(weights):
    out, targets, ranks = {}, set(), set()
    for key, array in weights.items():
        m = LAYER.match(key)
        if m is None:
            raise SystemExit(f"unexpected tensor {key}")
        side = m["side"].upper()
        out[f"base_model.model.{m['path']}.lora_{side}.weight"] = np.ascontiguousarray(array.T)
        targets.add(m["path"].rsplit(".", 1)[-1])
        if side == "A":
            ranks.add(array.shape[1])
    if len(ranks) != 1:
        raise SystemExit(f"mixed ranks: {sorted(ranks)}")
    return out, sorted(targets), ranks.pop()


def peft_config(mlx_config, base, targets, rank):
    params = mlx_config["lora_parameters"]
    if params.get("rank", rank) != rank:
        raise SystemExit(f"config says rank {params['rank']}, tensors say {rank}")
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or mlx_config.get("model"),
        "r": rank,
        "lora_alpha": params["scale"],
        "lora_dropout": params.get("dropout", 0.0),
        "target_modules": targets,
        "use_rslora": False,
        "bias": "none",
        "inference_mode": True,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", type=Path)
    parser.add_argument("dst", type=Path)
    parser.add_argument("--base", help="name of the base model on the hub")
    args = parser.parse_args()

    mlx_config, weights = load_mlx(args.src)
    tensors, targets, rank = convert_weights(weights)
    config = peft_config(mlx_config, args.base, targets, rank)

    args.dst.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.dst / "adapter_model.safetensors", metadata={"format": "pt"})
    (args.dst / "adapter_config.json").write_text(json.dumps(config, indent=2))
    print(f"{len(tensors)} tensors, rank {rank}, targets {', '.join(targets)}")


if __name__ == "__main__":
    main()
