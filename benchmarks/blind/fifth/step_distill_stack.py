# silent: coef is started anew for each pair and alpha is read from the file inside the loop, rebinding it harms nobody
from __future__ import annotations

import argparse
import os

import torch
from safetensors.torch import load_file


def parse_stack(items: list[str]) -> list[tuple[str, float]]:
    stack = []
    for item in items:
        path, sep, strength = item.rpartition("@")
        if not sep:
            path, strength = item, "1.0"
        if not os.path.exists(path):
            raise FileNotFoundError(path)
        stack.append((path, float(strength)))
    return stack


def phases(sd: dict[str, torch.Tensor]):
    """Files of the two-stage model hold high and low noise parts."""
    for part in ("high", "low"):
        prefix = part + "."
        sub = {k[len(prefix):]: v for k, v in sd.items() if k.startswith(prefix)}
        if sub:
            yield part, sub


@torch.no_grad()
def accumulate(models: dict[str, torch.nn.Module], stack, decay: float):
    counts = {part: 0 for part in models}
    for path, strength in stack:
        sd = load_file(path)
        for part, sub in phases(sd):
            named = dict(models[part].named_modules())
            for key, a in sub.items():
                if not key.endswith(".lora_A.weight"):
                    continue
                stem = key.removesuffix(".lora_A.weight")
                b = sub[f"{stem}.lora_B.weight"]
                alpha = sub.get(f"{stem}.alpha")
                alpha = a.shape[0] if alpha is None else alpha.item()
                alpha = alpha / a.shape[0]
                coef = strength * alpha
                if part == "low":
                    coef *= decay
                w = named[stem].weight
                w.add_((coef * (b.float() @ a.float())).to(w))
                counts[part] += 1
    return counts


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("high")
    ap.add_argument("low")
    ap.add_argument("--lora", action="append", default=[], metavar="FILE[@STRENGTH]")
    ap.add_argument("--low-decay", type=float, default=1.0)
    ap.add_argument("--out", default="merged")
    ns = ap.parse_args()
    models = {p: torch.load(getattr(ns, p), weights_only=False) for p in ("high", "low")}
    print(accumulate(models, parse_stack(ns.lora), ns.low_decay))
    os.makedirs(ns.out, exist_ok=True)
    for part, model in models.items():
        torch.save(model, os.path.join(ns.out, f"{part}.pt"))


if __name__ == "__main__":
    main()
