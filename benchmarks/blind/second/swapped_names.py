# silent: mat1 is up and mat2 is down as in ComfyUI, the rank is taken from down, alpha is divided once
import torch

UP_DOWN = (
    ("{}.lora_up.weight", "{}.lora_down.weight"),
    ("{}.lora_B.weight", "{}.lora_A.weight"),
    ("{}.lora.up.weight", "{}.lora.down.weight"),
    ("{}.lora_linear_layer.up.weight", "{}.lora_linear_layer.down.weight"),
)


def find(sd, x, seen):
    alpha = None
    if f"{x}.alpha" in sd:
        alpha = sd[f"{x}.alpha"].item()
        seen.add(f"{x}.alpha")
    for first, second in UP_DOWN:
        A_name, B_name = first.format(x), second.format(x)
        if A_name in sd:
            seen.update((A_name, B_name))
            return sd[A_name], sd[B_name], alpha
    return None


def load(sd, to_load):
    seen, patches = set(), {}
    for x, target in to_load.items():
        v = find(sd, x, seen)
        if v is not None:
            patches[target] = v
    for key in sd.keys() - seen:
        print("lora key not loaded:", key)
    return patches


def calculate_weight(weight, v, strength):
    mat1, mat2, alpha = v
    if alpha is not None:
        alpha = alpha / mat2.shape[0]
    else:
        alpha = 1.0
    diff = torch.mm(mat1.float().flatten(start_dim=1), mat2.float().flatten(start_dim=1))
    return weight + ((strength * alpha) * diff.reshape(weight.shape)).type(weight.dtype)
