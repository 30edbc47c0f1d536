# wrong in line 45: on resume the layers are built with the command line's alpha (default 16) although the checkpoint's settings hold the value used so far
"""Fine-tune a small decoder with LoRA; can continue from a checkpoint."""
import argparse
import math

import torch
import torch.nn as nn


class LoRA(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling


def add_lora(model, rank, alpha):
    for name, module in list(model.named_children()):
        if isinstance(module, nn.Linear):
            setattr(model, name, LoRA(module, rank, alpha))
        else:
            add_lora(module, rank, alpha)
    return model


def save(model, path, step, settings):
    adapter = {k: v for k, v in model.state_dict().items() if "lora_" in k}
    torch.save({"step": step, "settings": settings, "adapter": adapter}, path)


def setup(model, args):
    """Returns the step to start from and the settings that later saves record."""
    if args.resume is None:
        settings = {"rank": args.rank, "alpha": args.alpha}
        add_lora(model, settings["rank"], settings["alpha"])
        return 0, settings
    ckpt = torch.load(args.resume, map_location="cpu")
    settings = ckpt["settings"]
    add_lora(model, settings["rank"], args.alpha)
    model.load_state_dict(ckpt["adapter"], strict=False)
    return ckpt["step"], settings


def parse(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", type=float, default=16.0, help="for a new run")
    p.add_argument("--resume", help="checkpoint to continue; its settings are kept")
    p.add_argument("--steps", type=int, default=1000)
    return p.parse_args(argv)
