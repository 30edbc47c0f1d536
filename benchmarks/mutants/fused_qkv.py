from torch import nn


class LoRAQKV(nn.Module):
    def __init__(self, qkv, r, lora_alpha):
        super().__init__()
        self.qkv = qkv
        self.dim = qkv.in_features
        self.scaling = lora_alpha / r
        self.lora_a_q = nn.Linear(self.dim, r, bias=False)
        self.lora_b_q = nn.Linear(r, self.dim, bias=False)
        self.lora_a_v = nn.Linear(self.dim, r, bias=False)
        self.lora_b_v = nn.Linear(r, self.dim, bias=False)

    def forward(self, x):
        qkv = self.qkv(x)
        new_q = self.lora_b_q(self.lora_a_q(x)) * self.scaling
        new_v = self.lora_b_v(self.lora_a_v(x)) * self.scaling
        qkv[..., : self.dim] += new_q
        qkv[..., -self.dim :] += new_v
        return qkv
