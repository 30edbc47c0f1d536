# silent: each popped alpha is folded into its up factor before the key disappears
"""Rewrite kohya files for runtimes that read every pair with gain 1."""
import sys
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def absorb(sd):
    seen = Counter()
    for stem in [k[:-6] for k in sd if k.endswith(".alpha")]:
        alpha = sd.pop(stem + ".alpha").item()
        down_key, up_key = stem + ".lora_down.weight", stem + ".lora_up.weight"
        if down_key not in sd:
            raise ValueError(f"{stem}: only plain pairs are supported")
        dim = sd[down_key].shape[0]
        if alpha == dim:
            seen["identity"] += 1
            continue
        up = sd[up_key]
        sd[up_key] = (up.to(torch.float32) * (alpha / dim)).to(up.dtype)
        seen["folded"] += 1
    return seen


def check(sd):
    extra = [k for k in sd if not k.endswith((".lora_down.weight", ".lora_up.weight"))]
    if extra:
        raise ValueError(f"unexpected keys, first: {extra[0]}")


def main(paths):
    failures = 0
    for path in map(Path, paths):
        sd = load_file(path)
        try:
            seen = absorb(sd)
            check(sd)
        except ValueError as err:
            print(f"{path}: {err}", file=sys.stderr)
            failures += 1
            continue
        target = path.with_stem(path.stem + "-plain")
        save_file(sd, target, metadata={"alpha": "folded"})
        print(target, dict(seen))
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
