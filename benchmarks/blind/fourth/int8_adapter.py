# wrong in line 45: the LoRA branch is added before the per-channel dequantisation, so it is multiplied by the weight's quantisation scale too
"""8-bit frozen linear layers with trainable low-rank adapters."""
import math
from typing import Iterable

import torch
import torch.nn.functional as F
from torch import nn


def quantize_rows(weight: torch.Tensor):
    """Symmetric absmax quantisation per output channel."""
    absmax = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-8)
    scale = absmax / 127.0
    q = torch.round(weight / scale).clamp(-127, 127).to(torch.int8)
    return q, scale.squeeze(1)


class Int8LoRALinear(nn.Module):
    def __init__(self, in_features, out_features, r, lora_alpha, bias=True, lora_dropout=0.0):
        super().__init__()
        self.register_buffer("qweight", torch.zeros(out_features, in_features, dtype=torch.int8))
        self.register_buffer("wscale", torch.ones(out_features))
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)
        self.lora_A = nn.Parameter(torch.empty(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.dropout = nn.Dropout(lora_dropout)
        self.scaling = lora_alpha / r

    @classmethod
    def from_linear(cls, linear: nn.Linear, r, lora_alpha, lora_dropout=0.0):
        new = cls(linear.in_features, linear.out_features, r, lora_alpha, linear.bias is not None, lora_dropout)
        q, scale = quantize_rows(linear.weight.detach().float())
        new.qweight.copy_(q)
        new.wscale.copy_(scale)
        if linear.bias is not None:
            new.bias.copy_(linear.bias.detach())
        return new.to(linear.weight.device)

    def forward(self, x):
        dtype = x.dtype
        acc = F.linear(x, self.qweight.to(dtype))
        low = F.linear(F.linear(self.dropout(x).to(self.lora_A.dtype), self.lora_A), self.lora_B)
        acc = acc + (self.scaling * low).to(dtype)
        out = acc * self.wscale.to(dtype)
        return out if self.bias is None else out + self.bias.to(dtype)

    def extra_repr(self):
        o, i = self.qweight.shape
        return f"in={i}, out={o}, r={self.lora_A.shape[0]}, scaling={self.scaling:g}"


def convert(model: nn.Module, targets: Iterable[str], r=16, lora_alpha=32, lora_dropout=0.05):
    targets = tuple(targets)
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            full = f"{name}.{child_name}" if name else child_name
            if isinstance(child, nn.Linear) and full.endswith(targets):
                setattr(module, child_name, Int8LoRALinear.from_linear(child, r, lora_alpha, lora_dropout))
    for pname, p in model.named_parameters():
        p.requires_grad_("lora_" in pname)
    return model


def train(model, loader, lr=2e-4, epochs=1, device="cuda"):
    model.to(device).train()
    params = [p for p in model.parameters() if p.requires_grad]
    optim = torch.optim.AdamW(params, lr=lr, weight_decay=0.0)
    for epoch in range(epochs):
        for ids, labels in loader:
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = model(ids.to(device)).logits
                loss = F.cross_entropy(logits.flatten(0, 1), labels.to(device).flatten(), ignore_index=-100)
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            optim.step()
            optim.zero_grad(set_to_none=True)
        print(f"epoch {epoch}: {loss.item():.4f}")
