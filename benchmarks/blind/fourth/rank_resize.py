# silent: the SVD is of the scaled update and the new alpha equals the new rank, so the strength is kept
"""Resize LoRA modules to a common rank (needed by the batching runtime)."""
import argparse
import sys
from collections import defaultdict

import torch
from safetensors.torch import load_file, save_file


def modules(state):
    out = defaultdict(dict)
    for key, tensor in state.items():
        name, _, field = key.partition(".lora_")
        if field:
            out[name][field.split(".")[0]] = tensor
        elif key.endswith(".alpha"):
            out[key.removesuffix(".alpha")]["alpha"] = tensor
        else:
            sys.exit(f"do not know what to do with {key}")
    return dict(out)


def resize(module, rank):
    down = module["down"].double()
    up = module["up"].double()
    old = down.shape[0]
    alpha = float(module.get("alpha", old))
    update = (alpha / old) * (up @ down)
    q_up, r_up = torch.linalg.qr(up)
    q_down, r_down = torch.linalg.qr(down.t())
    core = (alpha / old) * (r_up @ r_down.t())
    u, s, vh = torch.linalg.svd(core)
    keep = min(rank, s.numel())
    root = s[:keep].sqrt()
    new_up = (q_up @ u[:, :keep]) * root
    new_down = root[:, None] * (vh[:keep] @ q_down.t())
    if keep < rank:
        new_up = torch.nn.functional.pad(new_up, (0, rank - keep))
        new_down = torch.nn.functional.pad(new_down, (0, 0, 0, rank - keep))
    error = (update - new_up @ new_down).norm() / update.norm().clamp_min(1e-12)
    return new_down, new_up, float(rank), float(error)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("--rank", type=int, required=True)
    ap.add_argument("--max-error", type=float, default=0.2)
    args = ap.parse_args()

    out, bad = {}, []
    for name, module in modules(load_file(args.src)).items():
        dtype = module["down"].dtype
        down, up, alpha, error = resize(module, args.rank)
        out[f"{name}.lora_down.weight"] = down.to(dtype).contiguous()
        out[f"{name}.lora_up.weight"] = up.to(dtype).contiguous()
        out[f"{name}.alpha"] = torch.tensor(alpha)
        if error > args.max_error:
            bad.append((error, name))
    for error, name in sorted(bad, reverse=True)[:10]:
        print(f"warning: {name} loses {error:.1%}", file=sys.stderr)
    save_file(out, args.dst)


if __name__ == "__main__":
    main()
