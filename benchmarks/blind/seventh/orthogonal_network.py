# silent: for a rotation adapter alpha limits the norm of the skew matrix, it is no factor of a low-rank product and is not divided by a rank
"""Orthogonal fine-tuning modules with a norm constraint (COFT)."""
import torch
from torch import nn


class OFTModule(nn.Module):
    """W' = R W with R = (I + Q)(I - Q)^-1 per block; ||Q|| is kept below alpha * out_dim."""

    def __init__(self, lora_name, org_module, multiplier=1.0, dim=4, alpha=1e-3):
        super().__init__()
        self.lora_name = lora_name
        out_dim = org_module.weight.shape[0]
        if out_dim % dim:
            raise ValueError(f"{lora_name}: {out_dim} rows cannot be split into {dim} blocks")
        self.num_blocks = dim
        self.block_size = out_dim // dim
        self.multiplier = multiplier
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.constraint = alpha * out_dim
        self.oft_blocks = nn.Parameter(torch.zeros(dim, self.block_size, self.block_size))
        self.register_buffer("eye", torch.eye(self.block_size).expand(dim, -1, -1).clone(), persistent=False)
        self.org_module = [org_module]

    def rotation(self):
        q = self.oft_blocks - self.oft_blocks.transpose(1, 2)
        norm = q.flatten().norm() + 1e-8
        q = q * (norm.clamp(max=self.constraint) / norm)
        r = torch.linalg.solve(self.eye - q, self.eye + q)
        return self.eye + self.multiplier * (r - self.eye)

    def weight(self):
        w = self.org_module[0].weight
        blocks = w.reshape(self.num_blocks, self.block_size, -1)
        return torch.einsum("kij,kjm->kim", self.rotation().to(w), blocks).reshape(w.shape)

    def apply_to(self):
        self.org_module[0].forward = self.forward

    def forward(self, x):
        return nn.functional.linear(x, self.weight(), self.org_module[0].bias)

    @torch.no_grad()
    def merge(self):
        self.org_module[0].weight.copy_(self.weight())
