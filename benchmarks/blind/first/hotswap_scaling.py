# wrong in line 12: unscale passes nothing, the adapter stays at w
from peft.tuners.lora import LoraLayer


def with_weight(model, w, fn):
    for m in model.modules():
        if isinstance(m, LoraLayer):
            m.scale_layer(w)
    out = fn(model)
    for m in model.modules():
        if isinstance(m, LoraLayer):
            m.scale_layer(w)
    return out
