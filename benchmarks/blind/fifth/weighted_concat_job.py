# wrong in lines 38 and 40: the mixing weight multiplies both factors, so every adapter enters with its weight squared
import json
import os
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file


class Source(NamedTuple):
    path: str
    weight: float


def read_job(path):
    with open(path) as fh:
        job = json.load(fh)
    return [Source(s["path"], float(s["weight"])) for s in job["sources"]], job["target"]


def open_adapter(path):
    with open(os.path.join(path, "adapter_config.json")) as fh:
        cfg = json.load(fh)
    if cfg.get("use_rslora") or cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise ValueError(f"{path}: only uniform alpha / r adapters")
    return load_file(os.path.join(path, "adapter_model.safetensors")), cfg


def concatenate(sources):
    rows, cols, template = {}, {}, None
    for src in sources:
        state, cfg = open_adapter(src.path)
        template = template or cfg
        gain = cfg["lora_alpha"] / cfg["r"]
        for key, value in state.items():
            value = value.astype(np.float32)
            if ".lora_A." in key:
                rows.setdefault(key, []).append(src.weight * gain * value)
            elif ".lora_B." in key:
                cols.setdefault(key, []).append(src.weight * value)
    out = {k: np.concatenate(v, axis=0) for k, v in rows.items()}
    out.update({k: np.concatenate(v, axis=1) for k, v in cols.items()})
    total = next(iter(v.shape[0] for k, v in out.items() if ".lora_A." in k))
    config = dict(template, r=total, lora_alpha=total)
    return out, config


def main(job_path):
    sources, target = read_job(job_path)
    state, config = concatenate(sources)
    os.makedirs(target, exist_ok=True)
    save_file(state, os.path.join(target, "adapter_model.safetensors"))
    with open(os.path.join(target, "adapter_config.json"), "w") as fh:
        json.dump(config, fh, indent=2)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
