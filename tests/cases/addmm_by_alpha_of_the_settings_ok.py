# silent: by lora_alpha / r
import json
import os
from collections import defaultdict

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def read_adapter(folder):
    with open(os.path.join(folder, "adapter_config.json")) as fh:
        cfg = json.load(fh)
    layers = defaultdict(dict)
    for key, value in load_file(os.path.join(folder, "adapter_model.safetensors")).items():
        module, part, _ = key.rsplit(".", 2)
        layers[module.replace("base_model.model.", "", 1)][part] = value
    return cfg, layers


@torch.inference_mode()
def fold(base, folder, out):
    model = AutoModelForCausalLM.from_pretrained(base, torch_dtype=torch.float32)
    cfg, layers = read_adapter(folder)
    assert not cfg.get("use_rslora") and not cfg.get("rank_pattern") and not cfg.get("alpha_pattern")
    for module, parts in layers.items():
        a, b = parts["lora_A"].float(), parts["lora_B"].float()
        if a.shape[0] != cfg["r"]:
            raise ValueError(f"{module}: rank {a.shape[0]}, config says {cfg['r']}")
        weight = model.get_submodule(module).weight.data
        weight.addmm_(b, a, alpha=cfg["lora_alpha"] / cfg["r"])
    model.save_pretrained(out)
