# silent: scaling is inside the norm, the user strength is outside of it
import torch


def dora_weight(weight, a, b, magnitude, scaling):
    v = weight.float() + scaling * (b.float() @ a.float())
    return magnitude.float().view(-1, 1) * v / v.norm(dim=1, keepdim=True)


def merged(weight, entry, strength):
    a, b = entry["lora_A"], entry["lora_B"]
    scaling = entry["alpha"] / a.shape[0]
    if "magnitude" in entry:
        full = dora_weight(weight, a, b, entry["magnitude"], scaling)
        return (weight.float() + strength * (full - weight.float())).to(weight.dtype)
    return (weight.float() + strength * scaling * (b.float() @ a.float())).to(weight.dtype)


def entries(state, alpha):
    table = {}
    for key, tensor in state.items():
        if key.endswith(".lora_magnitude_vector"):
            table.setdefault(key[:-22], {})["magnitude"] = tensor
            continue
        module, part, tail = key.rsplit(".", 2)
        assert tail == "weight", key
        table.setdefault(module, {})[part] = tensor
    for entry in table.values():
        entry["alpha"] = alpha
    return table


@torch.no_grad()
def merge_into(model, state, config, strength=1.0):
    if config.use_rslora or config.rank_pattern or config.alpha_pattern:
        raise NotImplementedError
    for module, entry in entries(state, config.lora_alpha).items():
        weight = model.get_submodule(module.removeprefix("base_model.model.")).weight
        weight.copy_(merged(weight, entry, strength))
