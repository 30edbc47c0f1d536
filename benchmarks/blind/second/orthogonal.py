# silent: in OFT alpha is the norm constraint, it is not divided by a rank and does not scale a delta
import torch
from torch import nn


class OFTModule(nn.Module):
    """Replaces forward of the original module, as the LoRA modules of this package do."""

    def __init__(self, lora_name, org, multiplier=1.0, dim=4, alpha=1e-3):
        super().__init__()
        self.lora_name = lora_name
        self.multiplier = multiplier
        out_dim = org.out_features
        self.num_blocks = dim
        self.block_size = out_dim // dim
        self.register_buffer("alpha", torch.tensor(alpha))
        self.constraint = alpha * out_dim
        self.oft_blocks = nn.Parameter(torch.zeros(dim, self.block_size, self.block_size))
        self.register_buffer("eye", torch.eye(self.block_size), persistent=False)
        self.org_weight = org.weight
        self.org_bias = org.bias
        org.forward = self.forward

    def rotation(self):
        q = self.oft_blocks - self.oft_blocks.transpose(1, 2)
        norm = torch.norm(q.flatten())
        limited = torch.clamp(norm, max=self.constraint)
        q = q * ((limited + 1e-8) / (norm + 1e-8))
        eye = self.eye.unsqueeze(0)
        r = (eye + q) @ (eye - q).inverse()
        return self.multiplier * (r - eye) + eye

    def forward(self, x):
        w = self.org_weight.view(self.num_blocks, self.block_size, -1)
        w = torch.einsum("kmn,kmp->knp", self.rotation(), w)
        return nn.functional.linear(x, w.reshape(self.org_weight.shape), self.org_bias)
