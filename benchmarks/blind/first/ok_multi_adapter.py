# silent: several adapters, own scale each
import torch


class Multi(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.adapters = {}
        self.weights = {}

    def add(self, name, A, B, alpha, weight=1.0):
        self.adapters[name] = (A, B, alpha / A.size(0))
        self.weights[name] = weight

    def forward(self, x):
        y = self.base(x)
        for name, (A, B, scale) in self.adapters.items():
            y = y + self.weights[name] * scale * (x @ A.t()) @ B.t()
        return y

    def merge(self):
        for name, (A, B, scale) in self.adapters.items():
            self.base.weight.data += self.weights[name] * scale * B @ A
