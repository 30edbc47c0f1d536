# silent: to peft with alpha config
import json
from safetensors.torch import load_file, save_file


def convert(src, folder):
    sd = load_file(src)
    out, ranks, alphas = {}, {}, {}
    for k, v in sd.items():
        name = k.split(".")[0]
        if k.endswith(".alpha"):
            alphas[name] = float(v)
        elif k.endswith("lora_down.weight"):
            out[f"base_model.model.{name}.lora_A.weight"] = v
            ranks[name] = v.shape[0]
        elif k.endswith("lora_up.weight"):
            out[f"base_model.model.{name}.lora_B.weight"] = v
    r = max(ranks.values())
    cfg = {"peft_type": "LORA", "r": r, "lora_alpha": r, "rank_pattern": ranks,
           "alpha_pattern": {n: alphas.get(n, ranks[n]) for n in ranks}, "target_modules": sorted(ranks)}
    save_file(out, folder + "/adapter_model.safetensors")
    with open(folder + "/adapter_config.json", "w") as f:
        json.dump(cfg, f)
