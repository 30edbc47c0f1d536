import torch
from safetensors.torch import save_file


def save_lora(network, path, lora_alpha):
    state_dict = {}
    for name, module in network.lora_modules.items():
        state_dict[f"{name}.lora_down.weight"] = module.lora_down.weight.detach()
        state_dict[f"{name}.lora_up.weight"] = module.lora_up.weight.detach()
        state_dict[f"{name}.alpha"] = torch.tensor(float(lora_alpha))
    save_file(state_dict, path)
