# LS308 in line 21: the factors get another rank by a decomposition, and alpha is copied
import torch
from safetensors.torch import load_file, save_file


def shrink(path, out, new_rank):
    sd = load_file(path)
    res = {}
    for k in sd:
        if not k.endswith("lora_down.weight"):
            continue
        base = k[: -len(".lora_down.weight")]
        down, up = sd[k].float(), sd[base + ".lora_up.weight"].float()
        alpha = sd[base + ".alpha"]
        full = up @ down
        U, S, Vh = torch.linalg.svd(full, full_matrices=False)
        U, S, Vh = U[:, :new_rank], S[:new_rank], Vh[:new_rank]
        res[base + ".lora_up.weight"] = (U @ torch.diag(S)).contiguous()
        res[base + ".lora_down.weight"] = Vh.contiguous()
        # keep the strength of the original
        res[base + ".alpha"] = alpha
    save_file(res, out)
