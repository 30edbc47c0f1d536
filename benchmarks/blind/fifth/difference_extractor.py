# silent: SVD factors of the whole difference are written with alpha equal to the rank really kept
import argparse
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def kept_rank(s, limit, energy):
    share = torch.cumsum(s.square(), 0) / s.square().sum().clamp(min=1e-12)
    needed = int(torch.searchsorted(share, torch.tensor(energy))) + 1
    return max(1, min(limit, needed, s.numel()))


def factor(diff, limit, energy):
    shape = diff.shape
    u, s, vh = torch.linalg.svd(diff.flatten(1), full_matrices=False)
    k = kept_rank(s, limit, energy)
    root = s[:k].sqrt()
    up, down = u[:, :k] * root, root[:, None] * vh[:k]
    if len(shape) == 4:
        up, down = up.reshape(shape[0], k, 1, 1), down.reshape(k, *shape[1:])
    return up, down


def work(key, tuned, plain, args):
    diff = tuned.get_tensor(key).float() - plain.get_tensor(key).float()
    if diff.ndim not in (2, 4) or diff.abs().max() < args.threshold:
        return key, None
    return key, factor(diff, args.rank, args.energy)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("tuned")
    ap.add_argument("plain")
    ap.add_argument("out")
    ap.add_argument("--rank", type=int, default=64)
    ap.add_argument("--energy", type=float, default=0.98)
    ap.add_argument("--threshold", type=float, default=1e-4)
    ap.add_argument("--workers", type=int, default=4)
    args = ap.parse_args()

    out = {}
    with safe_open(args.tuned, "pt") as tuned, safe_open(args.plain, "pt") as plain:
        keys = [k for k in tuned.keys() if k.startswith("model.diffusion_model.") and k.endswith(".weight")]
        with ThreadPoolExecutor(args.workers) as pool:
            for key, pair in pool.map(lambda k: work(k, tuned, plain, args), keys):
                if pair is None:
                    continue
                up, down = pair
                stem = key.removeprefix("model.diffusion_model.").removesuffix(".weight")
                stem = "lora_unet_" + stem.replace(".", "_")
                out[stem + ".lora_up.weight"] = up.half().contiguous()
                out[stem + ".lora_down.weight"] = down.half().contiguous()
                out[stem + ".alpha"] = torch.tensor(float(down.shape[0]))
    save_file(out, args.out, metadata={"ss_network_module": "networks.lora", "ss_network_dim": "Dynamic"})
    print(f"{len(out) // 3} of {len(keys)} layers")


if __name__ == "__main__":
    with torch.no_grad():
        main()
