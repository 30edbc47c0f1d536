# silent: in this OFT file alpha is the bound of the skew norm and no factor, the multiplier enters once in rotation()
import torch
from torch import nn


class RotatedLinear(nn.Module):
    def __init__(self, host: nn.Linear, num_blocks: int, alpha: float = 0.0, multiplier: float = 1.0):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.num_blocks = num_blocks
        self.block = host.out_features // num_blocks
        self.oft_blocks = nn.Parameter(torch.zeros(num_blocks, self.block, self.block))
        # stored like the alpha of other network types, see kohya's oft module
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.multiplier = multiplier

    @property
    def bound(self):
        return self.alpha * self.host.out_features

    def skew(self):
        q = self.oft_blocks - self.oft_blocks.transpose(1, 2)
        if self.alpha > 0:
            norm = q.flatten().norm() + 1e-8
            q = q * (norm.clamp(max=self.bound) / norm)
        return q

    def rotation(self):
        q = self.skew()
        eye = torch.eye(self.block, dtype=q.dtype, device=q.device).expand_as(q)
        r = torch.linalg.solve(eye - q, eye + q)
        return eye + self.multiplier * (r - eye)

    def weight(self):
        w = self.host.weight.unflatten(0, (self.num_blocks, self.block))
        return torch.einsum("kmn,knp->kmp", self.rotation(), w).flatten(0, 1)

    def forward(self, x):
        return nn.functional.linear(x, self.weight(), self.host.bias)

    @torch.no_grad()
    def merged(self):
        out = nn.Linear(self.host.in_features, self.host.out_features, bias=self.host.bias is not None)
        out.weight.copy_(self.weight())
        if self.host.bias is not None:
            out.bias.copy_(self.host.bias)
        return out


def rotate(model, blocks, alpha, strength):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear) and child.out_features % blocks == 0:
            setattr(model, name, RotatedLinear(child, blocks, alpha, strength))
        else:
            rotate(child, blocks, alpha, strength)
    return model
