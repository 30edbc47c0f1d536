# wrong in line 38: rotation() already blends with the multiplier, merge_to multiplies the resulting change by it again
import torch
from torch import nn


class OFTBlock(nn.Module):
    """W' = R W with block diagonal R from the Cayley map of skew parameters"""

    def __init__(self, linear: nn.Linear, blocks: int, multiplier: float = 1.0):
        super().__init__()
        out = linear.out_features
        if out % blocks:
            raise ValueError(f"{out} rows do not split into {blocks} blocks")
        self.blocks, self.size = blocks, out // blocks
        self.q = nn.Parameter(torch.zeros(blocks, self.size, self.size))
        self.register_buffer("eye", torch.eye(self.size))
        self.multiplier = multiplier
        self.host = [linear]

    def rotation(self, multiplier):
        skew = self.q - self.q.mT
        r = torch.linalg.solve(self.eye + skew, (self.eye - skew).expand_as(skew))
        return self.eye + multiplier * (r - self.eye)

    def rotate(self, weight, multiplier):
        rows = weight.view(self.blocks, self.size, -1)
        return torch.bmm(self.rotation(multiplier), rows).view_as(weight)

    def forward(self, x):
        host = self.host[0]
        return nn.functional.linear(x, self.rotate(host.weight, self.multiplier), host.bias)

    @torch.no_grad()
    def merge_to(self, multiplier=None):
        host = self.host[0]
        m = self.multiplier if multiplier is None else multiplier
        change = self.rotate(host.weight, m) - host.weight
        host.weight.add_(change, alpha=m)


def rotate_all(model, blocks, strength):
    made = {}
    for name, mod in model.named_modules():
        if isinstance(mod, nn.Linear) and mod.out_features % blocks == 0:
            made[name] = OFTBlock(mod, blocks, strength)
    return made


def load(blocks_by_name, state):
    for name, block in blocks_by_name.items():
        block.q.data.copy_(state[f"{name}.oft_blocks"])


def finalize(blocks_by_name):
    for block in blocks_by_name.values():
        block.merge_to()
