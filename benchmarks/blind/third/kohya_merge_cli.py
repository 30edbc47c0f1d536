# wrong in line 19: the rank is read from dimension 0 of lora_up, which is the output width
import argparse

import torch
from safetensors.torch import load_file, save_file


def collect_modules(sd):
    names = []
    for key in sd:
        if key.endswith(".lora_down.weight"):
            names.append(key[: -len(".lora_down.weight")])
    return names


def delta_of(sd, name):
    up = sd[name + ".lora_up.weight"].float()
    down = sd[name + ".lora_down.weight"].float()
    dim = up.size(0)
    alpha = sd.get(name + ".alpha")
    scale = alpha.item() / dim if alpha is not None else 1.0
    if down.dim() == 4:
        weight = (up.flatten(1) @ down.flatten(1))
        weight = weight.view(up.shape[0], down.shape[1], *down.shape[2:])
    else:
        weight = up @ down
    return weight * scale


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--lora", required=True)
    parser.add_argument("--ratio", type=float, default=1.0)
    parser.add_argument("--save_to", required=True)
    args = parser.parse_args()

    base = load_file(args.model)
    lora = load_file(args.lora)
    for name in collect_modules(lora):
        target = name.replace("lora_unet_", "model.") + ".weight"
        if target not in base:
            print("skip", name)
            continue
        w = base[target]
        base[target] = (w.float() + args.ratio * delta_of(lora, name)).to(w.dtype)
    save_file(base, args.save_to)


if __name__ == "__main__":
    main()
