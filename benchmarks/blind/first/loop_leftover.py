# wrong in line 9: scale of the former layer is used where alpha is missing
def merge_all(weights, sd, strength):
    names = {k.split(".lora_")[0] for k in sd if ".lora_" in k}
    scale = 1.0
    for name in sorted(names):
        down = sd[f"{name}.lora_down.weight"]
        up = sd[f"{name}.lora_up.weight"]
        if f"{name}.alpha" in sd:
            scale = sd[f"{name}.alpha"].item() / down.shape[0]
        weights[name] += strength * scale * (up @ down)
