# wrong in line 44: to_dense adds the bias of the up projection unscaled, forward multiplies it with the gain
import torch
import torch.nn as nn


class QuantLinear(nn.Module):
    """Row-wise symmetric int8 weight."""

    def __init__(self, weight, bias=None):
        super().__init__()
        step = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("q", torch.round(weight / step).to(torch.int8))
        self.register_buffer("step", step)
        self.register_buffer("bias", torch.zeros(weight.shape[0]) if bias is None else bias.clone())

    def dequantize(self):
        return self.q.float() * self.step

    def forward(self, x):
        return x @ self.dequantize().T.to(x.dtype) + self.bias.to(x.dtype)


class AdaptedQuantLinear(nn.Module):
    def __init__(self, core: QuantLinear, rank=8, alpha=32.0, use_bias=True):
        super().__init__()
        n_out, n_in = core.q.shape
        self.core = core
        self.reduce = nn.Linear(n_in, rank, bias=False)
        self.expand = nn.Linear(rank, n_out, bias=use_bias)
        nn.init.zeros_(self.expand.weight)
        if use_bias:
            nn.init.zeros_(self.expand.bias)
        self.gain = alpha / rank

    def forward(self, x):
        return self.core(x) + self.gain * self.expand(self.reduce(x))

    @torch.no_grad()
    def to_dense(self):
        w = self.core.dequantize()
        w = w + self.gain * (self.expand.weight @ self.reduce.weight)
        b = self.core.bias
        if self.expand.bias is not None:
            b = b + self.expand.bias
        dense = nn.Linear(w.shape[1], w.shape[0])
        dense.weight.copy_(w)
        dense.bias.copy_(b)
        return dense

    def requantize(self):
        dense = self.to_dense()
        return QuantLinear(dense.weight.detach(), dense.bias.detach())


def quantize_and_adapt(model, rank, alpha):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                core = QuantLinear(child.weight.detach(), None if child.bias is None else child.bias.detach())
                setattr(parent, name, AdaptedQuantLinear(core, rank, alpha))
    return model
