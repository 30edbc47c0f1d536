# silent: the residual base loses scale * B A, which is what the branch adds, so the start equals the wrapped weight for any alpha
"""QR-based start values for LoRA factors."""
import torch
from torch import nn


class QrInitLoRA(nn.Module):
    def __init__(self, in_features, out_features, r, lora_alpha):
        super().__init__()
        self.r = r
        self.lora_alpha = lora_alpha
        self.weight = nn.Parameter(torch.empty(out_features, in_features), requires_grad=False)
        self.lora_A = nn.Parameter(torch.empty(r, in_features))
        self.lora_B = nn.Parameter(torch.empty(out_features, r))

    @property
    def scaling(self):
        return self.lora_alpha / self.r

    @torch.no_grad()
    def init_from(self, weight):
        q, rr = torch.linalg.qr(weight.float())
        self.lora_B.copy_(q[:, : self.r])
        self.lora_A.copy_(rr[: self.r])
        self.weight.copy_(torch.addmm(weight.float(), self.lora_B, self.lora_A, alpha=-self.scaling))
        return self

    def forward(self, x):
        out = x @ self.weight.T
        return out + (x @ self.lora_A.T) @ self.lora_B.T * self.scaling

    @classmethod
    def from_linear(cls, linear, r, lora_alpha):
        if linear.bias is not None:
            raise ValueError("bias is not supported")
        return cls(linear.in_features, linear.out_features, r, lora_alpha).init_from(linear.weight)
