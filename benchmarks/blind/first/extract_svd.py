# silent: extract from difference, alpha = rank
import torch
from safetensors.torch import save_file


def extract(org, tuned, rank, out):
    sd = {}
    for name in org:
        diff = tuned[name].float() - org[name].float()
        U, S, Vh = torch.linalg.svd(diff)
        sd[name + ".lora_up.weight"] = (U[:, :rank] @ torch.diag(S[:rank])).contiguous()
        sd[name + ".lora_down.weight"] = Vh[:rank].contiguous()
        sd[name + ".alpha"] = torch.tensor(float(rank))
    save_file(sd, out)
