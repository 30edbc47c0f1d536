import json
from pathlib import Path

import torch
from safetensors.torch import load_file


def merge_peft_adapter(base_state_dict, adapter_dir):
    config = json.loads((Path(adapter_dir) / "adapter_config.json").read_text())
    rank = config["r"]
    lora_alpha = config["lora_alpha"]
    scaling = lora_alpha / rank
    lora_state_dict = load_file(Path(adapter_dir) / "adapter_model.safetensors")
    merged = dict(base_state_dict)
    for key, weight_a in lora_state_dict.items():
        if not key.endswith(".lora_A.weight"):
            continue
        weight_b = lora_state_dict[key.replace(".lora_A.", ".lora_B.")]
        target = key.removesuffix(".lora_A.weight") + ".weight"
        merged[target] = merged[target] + scaling * torch.matmul(weight_b, weight_a)
    return merged
