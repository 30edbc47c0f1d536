# wrong in lines 10 and 32: lora_alpha is guessed as 16 instead of being read from the adapter's config
import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file


def fold(a, b, rank, alpha=16.0):
    a = a.astype(np.float32)
    b = b.astype(np.float32)
    return b @ a * (alpha / rank)


def load_adapter(folder):
    with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as fh:
        config = json.load(fh)
    if config.get("use_dora") or config.get("use_rslora"):
        sys.exit("DoRA and rsLoRA are not supported")
    return config, load_file(os.path.join(folder, "adapter_model.safetensors"))


def deltas(folder):
    config, tensors = load_adapter(folder)
    for key in sorted(tensors):
        if not key.endswith("lora_A.weight"):
            continue
        a = tensors[key]
        b = tensors[key.replace("lora_A", "lora_B")]
        name = key.replace("base_model.model.", "").replace(".lora_A", "")
        delta = fold(a, b, a.shape[0])
        if config.get("fan_in_fan_out"):
            delta = delta.T
        yield name, delta


def main(folder, out):
    arrays = dict(deltas(folder))
    np.savez(out, **arrays)
    print(f"wrote {len(arrays)} matrices to {out}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
