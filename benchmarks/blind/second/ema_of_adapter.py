# silent: alpha here is the decay of the average over the A and B tensors, the layer scale lives elsewhere
import copy

import torch


class AdapterAverage:
    """Exponential moving average over the lora_ parameters of a PEFT model."""

    def __init__(self, model, alpha=0.999, warmup=100):
        self.alpha = alpha
        self.warmup = warmup
        self.steps = 0
        self.shadow = {n: p.detach().clone().float() for n, p in model.named_parameters() if "lora_" in n}

    def current(self):
        return min(self.alpha, (1 + self.steps) / (self.warmup + self.steps))

    @torch.no_grad()
    def update(self, model):
        self.steps += 1
        alpha = self.current()
        for n, p in model.named_parameters():
            if n in self.shadow:
                self.shadow[n].mul_(alpha).add_(p.detach().float(), alpha=1 - alpha)

    @torch.no_grad()
    def copy_to(self, model):
        for n, p in model.named_parameters():
            if n in self.shadow:
                p.copy_(self.shadow[n])

    def averaged(self, model):
        twin = copy.deepcopy(model)
        self.copy_to(twin)
        return twin
