# silent: the scale is applied once to the elementwise product, the hand-written gradients carry it too
import torch
import torch.nn as nn
import torch.nn.functional as F


class HadaWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w1a, w1b, w2a, w2b, scale):
        ctx.save_for_backward(w1a, w1b, w2a, w2b)
        ctx.scale = scale
        return (w1a @ w1b) * (w2a @ w2b) * scale

    @staticmethod
    def backward(ctx, grad):
        w1a, w1b, w2a, w2b = ctx.saved_tensors
        grad = grad * ctx.scale
        t = grad * (w2a @ w2b)
        g1a, g1b = t @ w1b.T, w1a.T @ t
        t = grad * (w1a @ w1b)
        g2a, g2b = t @ w2b.T, w2a.T @ t
        return g1a, g1b, g2a, g2b, None


class HadaLinear(nn.Module):
    def __init__(self, host: nn.Linear, dim=4, alpha=None):
        super().__init__()
        self.host = host.requires_grad_(False)
        alpha = dim if alpha is None else alpha
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.scale = alpha / dim
        out, inp = host.weight.shape
        self.w1a, self.w1b = nn.Parameter(torch.randn(out, dim) * 0.1), nn.Parameter(torch.randn(dim, inp))
        self.w2a, self.w2b = nn.Parameter(torch.zeros(out, dim)), nn.Parameter(torch.randn(dim, inp) * 0.1)

    def diff(self):
        return HadaWeight.apply(self.w1a, self.w1b, self.w2a, self.w2b, self.scale)

    def forward(self, x):
        return F.linear(x, self.host.weight + self.diff(), self.host.bias)

    def _load_from_state_dict(self, state, prefix, *rest):
        super()._load_from_state_dict(state, prefix, *rest)
        self.scale = self.alpha.item() / self.w1b.shape[0]

    @torch.no_grad()
    def export(self):
        out = nn.Linear(self.host.in_features, self.host.out_features, bias=self.host.bias is not None)
        out.load_state_dict(self.host.state_dict())
        out.weight += self.diff()
        return out


def check(dim=3):
    layer = HadaLinear(nn.Linear(6, 5), dim, alpha=1.0).double()
    nn.init.normal_(layer.w2a)
    return torch.autograd.gradcheck(
        lambda a, b, c, d: HadaWeight.apply(a, b, c, d, 1 / dim), (layer.w1a, layer.w1b, layer.w2a, layer.w2b)
    )


if __name__ == "__main__":
    print(check())
