# wrong in line 21: the norm of the direction is taken from W + BA, while the output uses W + scaling * BA
import torch
import torch.nn as nn
import torch.nn.functional as F


class DoRALinear(nn.Module):
    """Weight-decomposed adapter: m * (W + s BA) / ||W + s BA||_row"""

    def __init__(self, linear: nn.Linear, r: int, alpha: float, eps: float = 1e-6):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().clone())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
        self.lora_A = nn.Parameter(torch.randn(r, linear.in_features) / r)
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))
        self.scaling = alpha / r
        self.eps = eps
        self.m = nn.Parameter(self.weight.norm(p=2, dim=1))

    def row_norm(self):
        direction = self.weight + self.lora_B.detach() @ self.lora_A.detach()
        return direction.norm(p=2, dim=1) + self.eps

    def forward(self, x):
        base = F.linear(x, self.weight)
        low = F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling
        y = (self.m / self.row_norm()) * (base + low)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        w = self.weight + self.scaling * (self.lora_B @ self.lora_A)
        w = self.m[:, None] * w / (w.norm(p=2, dim=1, keepdim=True) + self.eps)
        out = nn.Linear(w.shape[1], w.shape[0], bias=self.bias is not None)
        out.weight.copy_(w)
        if self.bias is not None:
            out.bias.copy_(self.bias)
        return out


def swap(model: nn.Module, r: int, alpha: float, names):
    for n, m in list(model.named_modules()):
        if n in names:
            head, _, leaf = n.rpartition(".")
            setattr(model.get_submodule(head), leaf, DoRALinear(m, r, alpha))
    return model
