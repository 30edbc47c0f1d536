# wrong in line 13: rank_pattern/alpha_pattern are ignored
import torch
from peft import LoraConfig
from safetensors.torch import load_file


def merge(folder, base):
    cfg = LoraConfig.from_pretrained(folder)
    sd = load_file(folder + "/adapter_model.safetensors")
    for k in sd:
        if "lora_A" in k:
            A, B = sd[k], sd[k.replace("lora_A", "lora_B")]
            s = cfg.lora_alpha / (cfg.r ** 0.5 if cfg.use_rslora else cfg.r)
            base[k.replace(".lora_A", "")] += s * B @ A
    return base
