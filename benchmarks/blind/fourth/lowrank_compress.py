# silent: this replaces W itself by B A (compression by truncated SVD), there is no base to add to and no scale to apply
"""Compress the linear layers of a trained model into low-rank pairs."""
import argparse
import logging
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

log = logging.getLogger("compress")


class LowRankLinear(nn.Module):
    def __init__(self, lora_A: torch.Tensor, lora_B: torch.Tensor, bias=None):
        super().__init__()
        self.rank = lora_A.shape[0]
        self.lora_A = nn.Parameter(lora_A.contiguous())
        self.lora_B = nn.Parameter(lora_B.contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x):
        return nn.functional.linear(x @ self.lora_A.t(), self.lora_B, self.bias)

    def merge(self):
        linear = nn.Linear(self.lora_A.shape[1], self.lora_B.shape[0], self.bias is not None)
        linear.weight.data = self.lora_B.data @ self.lora_A.data
        if self.bias is not None:
            linear.bias.data = self.bias.data
        return linear


def rank_for(singular, alpha):
    """Smallest rank that keeps the share alpha of the energy."""
    energy = torch.cumsum(singular.square(), 0) / singular.square().sum()
    return int((energy < alpha).sum()) + 1


@torch.no_grad()
def factorise(linear: nn.Linear, alpha: float):
    w = linear.weight.float()
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    r = rank_for(s, alpha)
    saved = w.numel() - r * sum(w.shape)
    if saved <= 0:
        return None, 0
    scale = s[:r].sqrt()
    a = (scale[:, None] * vh[:r]).to(linear.weight.dtype)
    b = (u[:, :r] * scale).to(linear.weight.dtype)
    return LowRankLinear(a, b, linear.bias), saved


def compress(model, alpha, skip):
    total = 0
    for name, parent in list(model.named_modules()):
        for child_name, child in list(parent.named_children()):
            full = f"{name}.{child_name}".lstrip(".")
            if not isinstance(child, nn.Linear) or any(s in full for s in skip):
                continue
            new, saved = factorise(child, alpha)
            if new is None:
                continue
            setattr(parent, child_name, new)
            total += saved
            log.debug("%s: rank %d", full, new.rank)
    return total


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("out", type=Path)
    ap.add_argument("--alpha", type=float, default=0.95, help="share of energy to keep")
    ap.add_argument("--skip", nargs="*", default=["classifier", "pooler"])
    args = ap.parse_args()
    model = AutoModelForSequenceClassification.from_pretrained(args.model)
    before = sum(p.numel() for p in model.parameters())
    saved = compress(model, args.alpha, args.skip)
    log.info("%.1f M parameters, %.1f M saved", before / 1e6, saved / 1e6)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), args.out / "compressed.pt")


if __name__ == "__main__":
    main()
