from collections import defaultdict


def fuse_lora_into(transformer, state_dict, strength=1.0):
    groups = defaultdict(dict)
    for key, value in state_dict.items():
        module, _, part = key.partition(".lora_")
        if key.endswith(".alpha"):
            groups[key.removesuffix(".alpha")]["alpha"] = value.item()
        elif part.startswith("down"):
            groups[module]["lora_down"] = value
        elif part.startswith("up"):
            groups[module]["lora_up"] = value
    for name, group in groups.items():
        weight = transformer.get_submodule(name).weight
        rank = group["lora_down"].shape[0]
        alpha = group.get("alpha", rank)
        scale = alpha / rank
        delta = group["lora_up"] @ group["lora_down"]
        weight.data += strength * scale * delta
