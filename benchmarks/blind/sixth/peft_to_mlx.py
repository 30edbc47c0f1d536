# wrong in line 42: use_rslora of the source config is not read, alpha/r is written as the mlx scale
"""Turn a Hugging Face adapter folder into an mlx_lm adapter folder."""
import json
import pathlib
import sys

import mlx.core as mx


def rename(key):
    key = key.replace("base_model.model.", "", 1)
    key = key.replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b")
    return key


def convert_weights(path):
    out = {}
    for key, value in mx.load(str(path)).items():
        if "lora_A" not in key and "lora_B" not in key:
            raise ValueError(f"cannot convert {key}")
        # torch keeps (r, in) / (out, r); mlx_lm keeps (in, r) / (r, out)
        out[rename(key)] = mx.contiguous(value.T)
    return out


def layer_keys(weights):
    keys = set()
    for name in weights:
        parts = name.split(".")
        idx = parts.index("layers")
        keys.add(".".join(parts[idx + 2:-1]))
    return sorted(keys)


def mlx_config(peft_cfg, weights):
    layers = {int(k.split(".layers.")[1].split(".")[0]) for k in weights}
    return {
        "fine_tune_type": "dora" if peft_cfg.get("use_dora") else "lora",
        "num_layers": len(layers),
        "lora_parameters": {
            "rank": peft_cfg["r"],
            "scale": peft_cfg["lora_alpha"] / peft_cfg["r"],
            "dropout": peft_cfg.get("lora_dropout", 0.0),
            "keys": layer_keys(weights),
        },
    }


def run(src, dst):
    src, dst = pathlib.Path(src), pathlib.Path(dst)
    peft_cfg = json.loads((src / "adapter_config.json").read_text())
    if peft_cfg.get("use_dora"):
        raise SystemExit("DoRA magnitudes are not supported")
    if peft_cfg.get("rank_pattern") or peft_cfg.get("alpha_pattern"):
        raise SystemExit("per layer ranks cannot be expressed in mlx_lm")
    weights = convert_weights(src / "adapter_model.safetensors")
    dst.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(dst / "adapters.safetensors"), weights)
    (dst / "adapter_config.json").write_text(json.dumps(mlx_config(peft_cfg, weights), indent=2))


if __name__ == "__main__":
    run(*sys.argv[1:3])
