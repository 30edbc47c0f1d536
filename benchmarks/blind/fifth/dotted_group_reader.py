# wrong in line 11: the last two dotted parts are cut from every key, for `.alpha` that removes one part of the module name too
from collections import defaultdict

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def module_of(key):
    # drops "lora_down.weight" and the like
    return key.rsplit(".", 2)[0]


def grouped(path):
    groups = defaultdict(dict)
    with safe_open(path, framework="pt", device="cpu") as f:
        for key in f.keys():
            groups[module_of(key)][key.rsplit(".", 1)[-1] if key.endswith("alpha") else key.split(".")[-2]] = (
                f.get_tensor(key)
            )
    return {m: parts for m, parts in groups.items() if "lora_down" in parts}


class GroupedFile:
    def __init__(self, path):
        self.groups = grouped(path)

    def gain(self, module):
        parts = self.groups[module]
        dim = parts["lora_down"].shape[0]
        alpha = parts.get("alpha")
        return 1.0 if alpha is None else alpha.item() / dim

    def delta(self, module):
        parts = self.groups[module]
        up, down = parts["lora_up"].float(), parts["lora_down"].float()
        return self.gain(module) * (up.flatten(1) @ down.flatten(1))

    def truncated(self, module, rank):
        u, s, vh = torch.linalg.svd(self.delta(module), full_matrices=False)
        root = s[:rank].sqrt()
        return u[:, :rank] * root, root[:, None] * vh[:rank]


def resize(src, dst, rank):
    """Input keys: diffusion_model.<module>.{lora_down.weight,lora_up.weight,alpha}"""
    source = GroupedFile(src)
    out = {}
    for module in sorted(source.groups):
        up, down = source.truncated(module, rank)
        out[f"{module}.lora_up.weight"] = up.half().contiguous()
        out[f"{module}.lora_down.weight"] = down.half().contiguous()
        out[f"{module}.alpha"] = torch.tensor(float(down.shape[0]))
    save_file(out, dst)
    return len(source.groups)


if __name__ == "__main__":
    import sys

    print(resize(sys.argv[1], sys.argv[2], int(sys.argv[3])), "modules resized")
