# wrong in line 30: the rank goes down but alpha is copied as it was, so alpha / rank grows
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def truncate(up, down, k):
    u, s, vh = torch.linalg.svd(up.float() @ down.float(), full_matrices=False)
    root = s[:k].sqrt()
    return u[:, :k] * root, root[:, None] * vh[:k]


def read(path):
    with safe_open(path, framework="pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})


def shrink(path, out, k):
    sd, meta = read(path)
    result = {}
    for key, tensor in sd.items():
        if ".lora_down" in key:
            other = key.replace(".lora_down", ".lora_up")
            up, down = truncate(sd[other], tensor, k)
            result[key] = down.to(tensor.dtype).contiguous()
            result[other] = up.to(tensor.dtype).contiguous()
        elif key.endswith(".alpha"):
            result[key] = tensor
    meta["ss_network_dim"] = str(k)
    save_file(result, out, metadata=meta)


if __name__ == "__main__":
    shrink(sys.argv[1], sys.argv[2], int(sys.argv[3]))
