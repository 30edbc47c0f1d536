# wrong in line 11: missing alpha is 1, not the rank
import torch


def apply(state, weights, multiplier=1.0):
    for name in weights:
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name[: -len(".lora_A.weight")]
        a, b = weights[name], weights[stem + ".lora_B.weight"]
        alpha = weights.get(stem + ".alpha", torch.tensor(1.0))
        scale = alpha.item() / a.shape[0]
        state[stem + ".weight"] += multiplier * scale * (b @ a)
    return state
