# silent: multiplies the saved scaling, restores it on leaving; nothing compounds
from contextlib import contextmanager

from peft.tuners.lora import LoraLayer


def lora_layers(model, adapter):
    for module in model.modules():
        if isinstance(module, LoraLayer) and adapter in module.scaling:
            yield module


@contextmanager
def rescale(model, adapter, multiplier):
    original = {}
    for module in lora_layers(model, adapter):
        if module.merged:
            raise RuntimeError("unmerge the adapter first")
        original[module] = module.scaling[adapter]
        module.scaling[adapter] = original[module] * multiplier
    try:
        yield model
    finally:
        for module, scaling in original.items():
            module.scaling[adapter] = scaling


def sweep(model, tokenizer, prompt, adapter="default", values=(0.0, 0.5, 1.0, 1.5)):
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    texts = {}
    for value in values:
        with rescale(model, adapter, value):
            tokens = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        texts[value] = tokenizer.decode(tokens[0], skip_special_tokens=True)
    return texts
