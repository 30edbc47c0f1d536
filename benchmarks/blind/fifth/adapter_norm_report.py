# silent: flags and patterns that the reader cannot honour are refused, so alpha / r is right for what remains
from __future__ import annotations

import json
import pathlib

import numpy as np
from safetensors.numpy import load_file

REFUSED = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save")


class UnsupportedAdapter(ValueError):
    pass


def read_config(folder: pathlib.Path) -> dict:
    cfg = json.loads((folder / "adapter_config.json").read_text())
    if cfg.get("peft_type") != "LORA":
        raise UnsupportedAdapter(f"{folder.name}: peft_type {cfg.get('peft_type')}")
    bad = [flag for flag in REFUSED if cfg.get(flag)]
    if bad:
        raise UnsupportedAdapter(f"{folder.name}: {', '.join(bad)}")
    return cfg


def updates(folder: pathlib.Path):
    cfg = read_config(folder)
    multiplier = cfg["lora_alpha"] / cfg["r"]
    tensors = load_file(folder / "adapter_model.safetensors")
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        if a.shape[0] != cfg["r"]:
            raise UnsupportedAdapter(f"{key}: rank {a.shape[0]}, config says {cfg['r']}")
        b = tensors[key.replace(".lora_A.", ".lora_B.")]
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        yield name, multiplier * (b.astype(np.float32) @ a.astype(np.float32))


def energy(folder: pathlib.Path) -> dict[str, float]:
    return {name: float(np.linalg.norm(step)) for name, step in updates(folder)}


def main(paths: list[str]) -> int:
    status = 0
    for path in map(pathlib.Path, paths):
        try:
            table = energy(path)
        except UnsupportedAdapter as err:
            print("refused:", err)
            status = 2
            continue
        total = sum(v * v for v in table.values()) ** 0.5
        print(f"{path.name:40s} {len(table):4d} modules  norm {total:.4f}")
    return status


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
