# wrong in line 22: expert path unscaled while shared path scaled
import torch
from torch import nn


class MoELora(nn.Module):
    def __init__(self, n, d_in, d_out, r, lora_alpha):
        super().__init__()
        self.shared_a = nn.Parameter(torch.zeros(r, d_in))
        self.shared_b = nn.Parameter(torch.zeros(d_out, r))
        self.expert_a = nn.Parameter(torch.zeros(n, r, d_in))
        self.expert_b = nn.Parameter(torch.zeros(n, d_out, r))
        self.scaling = lora_alpha / r

    def shared(self, x, out):
        return out + (x @ self.shared_a.T) @ self.shared_b.T * self.scaling

    def experts(self, x, out, idx):
        a = self.expert_a[idx]
        b = self.expert_b[idx]
        h = torch.einsum("bd,brd->br", x, a)
        return out + torch.einsum("br,bor->bo", h, b)
