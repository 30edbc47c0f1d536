# wrong in line 27: a fractional alpha is packed as an integer, 0.5 becomes 0 and 1.5 becomes 1
"""Minimal container writer for small on-device adapters."""
import json
import struct
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

MAGIC = b"LRA2"
HEADER = struct.Struct("<4sIii")


def prune(name):
    name = name.removeprefix("base_model.model.")
    return name.replace(".lora_A.weight", ".a").replace(".lora_B.weight", ".b")


def write(folder: Path, target: Path):
    cfg = json.loads((folder / "adapter_config.json").read_text())
    for flag in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern"):
        if cfg.get(flag):
            raise SystemExit(f"{flag} cannot be expressed in this container")
    tensors = load_file(folder / "adapter_model.safetensors")
    rank = cfg["r"]
    alpha = int(cfg["lora_alpha"])
    with target.open("wb") as fh:
        fh.write(HEADER.pack(MAGIC, len(tensors), rank, alpha))
        for name, arr in sorted(tensors.items()):
            short = prune(name).encode()
            fh.write(struct.pack("<I", len(short)))
            fh.write(short)
            fh.write(struct.pack("<II", *arr.shape))
            fh.write(arr.astype(np.float16).tobytes())


def read(target: Path):
    blob = target.read_bytes()
    magic, count, rank, alpha = HEADER.unpack_from(blob, 0)
    assert magic == MAGIC
    return {"rank": rank, "gain": alpha / rank, "tensors": count}


if __name__ == "__main__":
    src, dst = map(Path, sys.argv[1:3])
    write(src, dst)
    print(read(dst))
