# wrong in line 16: metadata says alpha = rank though trained with args.lora_alpha
import torch
from safetensors.torch import save_file
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict


def train(model, args, step):
    cfg = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=args.targets)
    model = get_peft_model(model, cfg)
    step(model)
    sd = get_peft_model_state_dict(model)
    out = {}
    for k, v in sd.items():
        out[k] = v
        if k.endswith("lora_A.weight"):
            out[k.replace("lora_A.weight", "alpha")] = torch.tensor(args.lora_rank)
    save_file(out, args.output)
