"""Sends the policy's LoRA weights to the rollout workers after each update."""
import io

import torch


class LoraLinear(torch.nn.Module):
    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base = base
        self.lora_A = torch.nn.Linear(base.in_features, r, bias=False)
        self.lora_B = torch.nn.Linear(r, base.out_features, bias=False)
        self.r, self.lora_alpha = r, lora_alpha
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


class WeightSender:
    def __init__(self, model, transport):
        self.model, self.transport, self.version = model, transport, 0

    @torch.no_grad()
    def push(self):
        tensors, config = {}, {}
        for name, m in self.model.named_modules():
            if isinstance(m, LoraLinear):
                tensors[f"{name}.lora_A"] = m.lora_A.weight.half()
                tensors[f"{name}.lora_B"] = (m.lora_B.weight * m.scaling).half()
                config = {"r": m.r, "lora_alpha": m.lora_alpha}
        self.version += 1
        buffer = io.BytesIO()
        torch.save({"version": self.version, "tensors": tensors, "config": config}, buffer)
        self.transport.send(buffer.getvalue())
