# wrong in line 59: the layers train at alpha / sqrt(r), the exported adapter_config.json has no use_rslora, so every PEFT reader applies alpha / r
"""Study of high ranks on a small encoder; writes PEFT folders for the eval jobs."""
import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn


class StableLoRA(nn.Module):
    """Rank-stabilised LoRA (Kalajdzievski, 2023)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))

    @property
    def gain(self):
        return self.alpha / math.sqrt(self.rank)

    def forward(self, x):
        return self.base(x) + self.gain * F.linear(F.linear(x, self.A), self.B)


def wrap(model, names, rank, alpha):
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent.named_children()):
            if child_name in names and isinstance(child, nn.Linear):
                setattr(parent, child_name, StableLoRA(child, rank, alpha))
    return model


def export(model, out: Path, base_name: str):
    out.mkdir(parents=True, exist_ok=True)
    tensors, targets, ranks, alphas = {}, set(), set(), set()
    for name, module in model.named_modules():
        if not isinstance(module, StableLoRA):
            continue
        prefix = f"base_model.model.{name}"
        tensors[f"{prefix}.lora_A.weight"] = module.A.detach().cpu().contiguous()
        tensors[f"{prefix}.lora_B.weight"] = module.B.detach().cpu().contiguous()
        targets.add(name.rsplit(".", 1)[-1])
        ranks.add(module.rank)
        alphas.add(module.alpha)
    if len(ranks) != 1 or len(alphas) != 1:
        raise ValueError("mixed ranks are not supported")
    config = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": base_name,
        "r": ranks.pop(),
        "lora_alpha": alphas.pop(),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(targets),
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})


def run(args):
    from transformers import AutoModel

    batches = torch.load(args.data)
    for rank in args.ranks:
        torch.manual_seed(args.seed)
        model = AutoModel.from_pretrained(args.base).requires_grad_(False)
        wrap(model, {"query", "value"}, rank, args.alpha)
        params = [p for p in model.parameters() if p.requires_grad]
        opt = torch.optim.Adam(params, lr=args.lr)
        for ids, mask, target in batches:
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            loss = F.mse_loss(F.normalize(hidden, dim=-1), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"rank {rank}: loss {loss.item():.4f}")
        export(model, Path(args.out) / f"r{rank}", args.base)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", default="sentence-transformers/all-MiniLM-L6-v2")
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", default="study")
    ap.add_argument("--ranks", type=int, nargs="+", default=[8, 32, 128])
    ap.add_argument("--alpha", type=float, default=16)
    ap.add_argument("--lr", type=float, default=3e-4)
    ap.add_argument("--seed", type=int, default=0)
    run(ap.parse_args())
