# wrong in line 14: rsLoRA ignored
import json
import sys

import torch
from safetensors.torch import load_file, save_file

base_path, adapter_dir, out = sys.argv[1:4]
with open(f"{adapter_dir}/adapter_config.json") as f:
    cfg = json.load(f)

base = load_file(base_path)
adapter = load_file(f"{adapter_dir}/adapter_model.safetensors")
scale = cfg["lora_alpha"] / cfg["r"]
for key in [k for k in adapter if k.endswith("lora_A.weight")]:
    b_key = key.replace("lora_A", "lora_B")
    target = key.replace("base_model.model.", "").replace(".lora_A", "")
    base[target] += scale * (adapter[b_key] @ adapter[key])
save_file(base, out)
