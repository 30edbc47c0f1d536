# silent: alpha / rank is folded into the up weight once and the written alpha is the rank
import sys

import torch
from safetensors.torch import load_file, save_file


def normalise(state):
    result = dict(state)
    for key in state:
        if not key.endswith(".lora_down.weight"):
            continue
        stem = key[: -len(".lora_down.weight")]
        rank = state[key].shape[0]
        alpha = state.get(stem + ".alpha")
        if alpha is None:
            continue
        up = state[stem + ".lora_up.weight"]
        result[stem + ".lora_up.weight"] = (up.float() * (alpha.item() / rank)).to(up.dtype)
        result[stem + ".alpha"] = torch.tensor(float(rank))
    return result


def main():
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: {sys.argv[0]} IN OUT")
    save_file(normalise(load_file(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
