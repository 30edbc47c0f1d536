# wrong in line 30: metadata values are text, bool("False") is True, so files trained without rslora get alpha / sqrt(rank)
import math
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def store(path, pairs, *, rank, alpha, rslora):
    flat = {}
    for module, (a, b) in pairs.items():
        flat[f"{module}.lora_A.weight"] = a.contiguous()
        flat[f"{module}.lora_B.weight"] = b.contiguous()
    meta = {"rank": str(rank), "alpha": str(alpha), "rslora": str(rslora)}
    save_file(flat, path, metadata=meta)


class AdapterFile:
    def __init__(self, path):
        self.path = Path(path)
        with safe_open(self.path, framework="pt") as fh:
            self.meta = fh.metadata() or {}
            self.tensors = {k: fh.get_tensor(k) for k in fh.keys()}

    @property
    def scale(self):
        rank = int(self.meta["rank"])
        alpha = float(self.meta["alpha"])
        if bool(self.meta.get("rslora", "")):
            return alpha / math.sqrt(rank)
        return alpha / rank

    def __iter__(self):
        for key, a in self.tensors.items():
            if key.endswith(".lora_A.weight"):
                module = key.removesuffix(".lora_A.weight")
                yield module, a, self.tensors[f"{module}.lora_B.weight"]

    @torch.no_grad()
    def merge_into(self, model, weight=1.0):
        for module, a, b in self:
            w = model.get_submodule(module).weight
            w += (weight * self.scale * torch.einsum("or,ri->oi", b, a)).to(w.dtype)
        return model


def describe(folder):
    for path in sorted(Path(folder).glob("*.safetensors")):
        f = AdapterFile(path)
        print(f"{path.name:40s} rank {f.meta['rank']:>4s} scale {f.scale:.4f} modules {len(list(f))}")
