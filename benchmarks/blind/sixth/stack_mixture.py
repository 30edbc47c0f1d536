# wrong in line 41: the weight multiplies the A rows and the B columns, each delta comes out with weight squared
"""Join any number of adapters into one by stacking the ranks."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Iterable, NamedTuple

import torch
from safetensors.torch import load_file, save_file


class Source(NamedTuple):
    folder: Path
    weight: float

    def config(self):
        return json.loads((self.folder / "adapter_config.json").read_text())

    def tensors(self):
        return load_file(self.folder / "adapter_model.safetensors")


def scaling(cfg) -> float:
    root = cfg["r"] ** 0.5 if cfg.get("use_rslora") else cfg["r"]
    return cfg["lora_alpha"] / root


def stack(sources: Iterable[Source]):
    rows: dict[str, list[torch.Tensor]] = {}
    total = 0
    for src in sources:
        cfg = src.config()
        if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
            raise ValueError(f"{src.folder}: patterns are not supported")
        total += cfg["r"]
        for key, value in src.tensors().items():
            value = value.float()
            if ".lora_B." in key:
                value = value * scaling(cfg)
            rows.setdefault(key, []).append(value * src.weight)
    joined = {
        key: torch.cat(parts, dim=0 if ".lora_A." in key else 1).contiguous()
        for key, parts in rows.items()
    }
    return joined, total


def write(sources: list[Source], out: Path):
    names = [frozenset(s.tensors()) for s in sources]
    if len(set(names)) != 1:
        raise ValueError("all adapters must cover the same modules")
    joined, rank = stack(sources)
    cfg = sources[0].config()
    cfg.update(r=rank, lora_alpha=rank, use_rslora=False)
    out.mkdir(parents=True, exist_ok=True)
    save_file(joined, out / "adapter_model.safetensors")
    (out / "adapter_config.json").write_text(json.dumps(cfg, indent=2))


if __name__ == "__main__":
    import sys

    pairs = [a.rsplit("=", 1) for a in sys.argv[2:]]
    write([Source(Path(p), float(w)) for p, w in pairs], Path(sys.argv[1]))
