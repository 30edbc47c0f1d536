# wrong in line 39: strength is used inside the decomposed weight and again on the difference to the original
import torch
from safetensors.torch import load_file


def entries(sd, suffix=".dora_scale"):
    for key in sd:
        if key.endswith(".lora_up.weight"):
            stem = key[: -len(".lora_up.weight")]
            yield stem, sd[stem + ".lora_up.weight"], sd[stem + ".lora_down.weight"], \
                sd.get(stem + ".alpha"), sd.get(stem + suffix)


def low_rank(up, down, alpha):
    ratio = 1.0 if alpha is None else alpha.item() / down.shape[0]
    return ratio * (up.float().flatten(1) @ down.float().flatten(1))


def decomposed(weight, delta, magnitude, strength):
    """weight with the learned column magnitudes; strength 0 gives weight back"""
    full = weight + delta
    norm = full.norm(dim=0, keepdim=True) + torch.finfo(full.dtype).eps
    target = full * (magnitude.float().view(1, -1) / norm)
    return weight + strength * (target - weight)


@torch.no_grad()
def apply(model, path, table, strength):
    counts = {"plain": 0, "dora": 0}
    for stem, up, down, alpha, magnitude in entries(load_file(path)):
        param = model.get_parameter(table[stem] + ".weight")
        w = param.float().flatten(1)
        delta = low_rank(up, down, alpha)
        if magnitude is None:
            new = w + strength * delta
            counts["plain"] += 1
        else:
            change = decomposed(w, delta, magnitude, strength) - w
            new = w + strength * change
            counts["dora"] += 1
        param.copy_(new.view_as(param).to(param.dtype))
    return counts


def sweep(make_model, path, table, values, measure):
    for value in values:
        model = make_model()
        apply(model, path, table, value)
        yield value, measure(model)
