# silent: in this naming mat1 is up and mat2 is down, the rank is read from the rows of mat2
import torch

SUFFIXES = (
    ("{}.lora_up.weight", "{}.lora_down.weight"),
    ("{}_lora.up.weight", "{}_lora.down.weight"),
    ("{}.lora_B.weight", "{}.lora_A.weight"),
    ("{}.lora_linear_layer.up.weight", "{}.lora_linear_layer.down.weight"),
)


def find(sd, x):
    for a_tpl, b_tpl in SUFFIXES:
        A_name, B_name = a_tpl.format(x), b_tpl.format(x)
        if A_name in sd:
            return A_name, B_name
    return None


def collect(sd, key_map):
    patches, used = {}, set()
    for x, target in key_map.items():
        names = find(sd, x)
        if names is None:
            continue
        A_name, B_name = names
        alpha = None
        alpha_name = f"{x}.alpha"
        if alpha_name in sd:
            alpha = sd[alpha_name].item()
            used.add(alpha_name)
        patches[target] = (sd[A_name], sd[B_name], alpha)
        used.update(names)
    for key in sd:
        if key not in used:
            print("not loaded:", key)
    return patches


def calculate(weight, patch, strength):
    mat1, mat2, alpha = patch
    mat1 = mat1.to(weight.device, torch.float32)
    mat2 = mat2.to(weight.device, torch.float32)
    if alpha is not None:
        alpha = alpha / mat2.shape[0]
    else:
        alpha = 1.0
    diff = torch.mm(mat1.flatten(start_dim=1), mat2.flatten(start_dim=1))
    return weight + ((strength * alpha) * diff).reshape(weight.shape).to(weight.dtype)


class Patcher:
    def __init__(self, model):
        self.model = model
        self.backup = {}

    def patch(self, patches, strength):
        state = self.model.state_dict()
        for target, patch in patches.items():
            if target not in self.backup:
                self.backup[target] = state[target].clone()
            state[target].copy_(calculate(state[target], patch, strength))

    def unpatch(self):
        state = self.model.state_dict()
        for target, weight in self.backup.items():
            state[target].copy_(weight)
        self.backup.clear()
