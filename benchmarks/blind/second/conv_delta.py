# wrong in line 22: the rank of a conv down weight is axis 0; axis 1 is the input channels
import torch
import torch.nn.functional as F


def conv_delta(up, mid, down):
    if mid is not None:
        return torch.einsum("oi,ijhw,jc->ochw", up.flatten(1), mid.float(), down.flatten(1))
    if down.shape[2:] == (1, 1):
        return (up.flatten(1) @ down.flatten(1))[..., None, None]
    return F.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)


def linear_delta(up, down):
    return up @ down


def module_delta(entry, strength):
    up, down = entry["lora_up.weight"].float(), entry["lora_down.weight"].float()
    if down.ndim == 4:
        delta = conv_delta(up, entry.get("lora_mid.weight"), down)
        rank = down.shape[1]
    else:
        delta = linear_delta(up, down)
        rank = down.shape[0]
    alpha = entry.get("alpha")
    factor = 1.0 if alpha is None else alpha.item() / rank
    return delta * (factor * strength)


def group(state):
    table = {}
    for key, value in state.items():
        head, _, tail = key.partition(".")
        table.setdefault(head, {})[tail] = value
    return table


@torch.no_grad()
def patch_unet(modules, state, strength=1.0):
    for head, entry in group(state).items():
        target = modules.get(head)
        if target is not None:
            target.weight += module_delta(entry, strength).to(target.weight)
