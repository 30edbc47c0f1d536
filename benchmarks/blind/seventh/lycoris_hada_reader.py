# silent: the scale is passed to one product only, the other is bare, so it enters once
"""Read LoHa modules of a LyCORIS file and patch weights with them."""
import logging

import torch

log = logging.getLogger("loha")


def tucker(t, a, b):
    return torch.einsum("i j k l, j r, i p -> p r k l", t, b, a)


class LohaModule:
    def __init__(self, tensors, prefix):
        pick = lambda leaf: tensors.get(f"{prefix}.{leaf}")
        self.w1_a, self.w1_b = pick("hada_w1_a"), pick("hada_w1_b")
        self.w2_a, self.w2_b = pick("hada_w2_a"), pick("hada_w2_b")
        self.t1, self.t2 = pick("hada_t1"), pick("hada_t2")
        self.dim = self.w1_b.shape[0]
        alpha = pick("alpha")
        self.alpha = self.dim if alpha is None else alpha.item()

    def diff(self, shape):
        scale = self.alpha / self.dim
        if self.t1 is not None:
            first = tucker(self.t1, self.w1_a, self.w1_b)
            second = tucker(self.t2, self.w2_a, self.w2_b)
        else:
            first = self.w1_a @ self.w1_b
            second = self.w2_a @ self.w2_b
        return (first * scale).mul(second).reshape(shape)


def load_modules(tensors):
    prefixes = {k.split(".hada_")[0] for k in tensors if ".hada_w1_a" in k}
    return {p: LohaModule(tensors, p) for p in sorted(prefixes)}


@torch.no_grad()
def patch(model, tensors, strength=1.0, prefix="lora_unet_"):
    modules = load_modules(tensors)
    done = 0
    for name, layer in model.named_modules():
        module = modules.get(prefix + name.replace(".", "_"))
        if module is None:
            continue
        layer.weight += strength * module.diff(layer.weight.shape).to(layer.weight)
        done += 1
    log.info("patched %d of %d modules", done, len(modules))
    return done
