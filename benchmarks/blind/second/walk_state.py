# wrong in line 27: alpha is set only before the loop, so a module without the key takes that of the module before
import logging

import torch

log = logging.getLogger("lora")


def walk(state):
    stems = sorted({k.split(".lora_")[0] for k in state if ".lora_" in k})
    for stem in stems:
        yield stem, state[f"{stem}.lora_up.weight"], state[f"{stem}.lora_down.weight"]


@torch.no_grad()
def bake(model, state, ratio):
    named = dict(model.named_modules())
    alpha = None
    for stem, up, down in walk(state):
        module = named.get(stem)
        if module is None:
            log.warning("no module for %s", stem)
            continue
        rank = down.size(0)
        if f"{stem}.alpha" in state:
            alpha = state[f"{stem}.alpha"].item()
        elif alpha is None:
            alpha = rank
        delta = torch.matmul(up.float(), down.float()) * (alpha / rank)
        module.weight.data += ratio * delta.to(module.weight)
    return model
