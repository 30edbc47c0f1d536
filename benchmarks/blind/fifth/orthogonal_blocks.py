# silent: alpha of an OFT module is a norm constraint, it is multiplied by the output size and not divided by a rank
import torch
import torch.nn as nn
import torch.nn.functional as F


class OrthogonalModule(nn.Module):
    """Block rotation of the output rows of a frozen layer."""

    def __init__(self, name, org, multiplier=1.0, dim=4, alpha=1.0):
        super().__init__()
        self.name = name
        self.org = [org]
        self.multiplier = multiplier
        n_out = org.weight.shape[0]
        if n_out % dim:
            raise ValueError(f"{name}: {n_out} rows cannot be cut in {dim} blocks")
        self.num_blocks = dim
        self.block_size = n_out // dim
        self.constraint = alpha * n_out
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.blocks = nn.Parameter(torch.zeros(dim, self.block_size, self.block_size))

    def rotation(self, multiplier):
        skew = self.blocks - self.blocks.transpose(1, 2)
        if self.constraint > 0:
            norm = skew.flatten().norm()
            limit = torch.clamp(norm, max=self.constraint)
            skew = skew * ((limit + 1e-8) / (norm + 1e-8))
        eye = torch.eye(self.block_size, device=skew.device, dtype=skew.dtype)
        turned = (eye + skew) @ torch.linalg.inv(eye - skew)
        turned = multiplier * (turned - eye) + eye
        return torch.block_diag(*turned)

    def rotated(self, multiplier=None):
        m = self.multiplier if multiplier is None else multiplier
        w = self.org[0].weight
        r = self.rotation(m).to(w.dtype)
        return (r @ w.flatten(1)).reshape(w.shape)

    def forward(self, x):
        org = self.org[0]
        w = self.rotated()
        if isinstance(org, nn.Conv2d):
            return F.conv2d(x, w, org.bias, org.stride, org.padding, org.dilation, org.groups)
        return F.linear(x, w, org.bias)

    @torch.no_grad()
    def merge(self, multiplier=None):
        self.org[0].weight.copy_(self.rotated(multiplier))


def wrap_all(model, dim, alpha, multiplier=1.0):
    modules = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.out_features % dim == 0:
            mod = OrthogonalModule(name, layer, multiplier, dim, alpha)
            modules.append(mod)
    return nn.ModuleList(modules)
