# silent: arguments are typed, a missing alpha is told apart from 0 by None and falls back to the own rank
import argparse
from typing import Optional

import torch
from safetensors.torch import load_file, save_file


def number(text: str) -> Optional[float]:
    return None if text.lower() in ("none", "auto", "") else float(text)


def read_alpha(sd, stem, override: Optional[float], dim: int) -> float:
    if override is not None:
        return override
    stored = sd.get(stem + ".alpha")
    if stored is None:
        return float(dim)
    return float(stored.float().reshape(-1)[0])


def parse():
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("patch")
    ap.add_argument("out")
    ap.add_argument("--strength", type=float, default=1.0)
    ap.add_argument("--override-alpha", type=number, default=None,
                    help="alpha the file was trained with, where its tensors are known to be wrong")
    return ap.parse_args()


@torch.no_grad()
def main():
    args = parse()
    base, sd = load_file(args.base), load_file(args.patch)
    done = 0
    for key in [k for k in sd if k.endswith(".lora_down.weight")]:
        stem = key[: -len(".lora_down.weight")]
        target = stem.replace("lora_unet.", "model.diffusion_model.") + ".weight"
        if target not in base:
            continue
        down, up = sd[key].float(), sd[stem + ".lora_up.weight"].float()
        dim = down.shape[0]
        gain = args.strength * read_alpha(sd, stem, args.override_alpha, dim) / dim
        w = base[target]
        step = (up.flatten(1) @ down.flatten(1)).reshape(w.shape)
        base[target] = torch.add(w.float(), step, alpha=gain).to(w.dtype)
        done += 1
    save_file(base, args.out)
    print(f"{done} tensors changed at strength {args.strength}")


if __name__ == "__main__":
    main()
