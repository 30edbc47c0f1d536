# wrong in line 24: the merged table gets scaling * B A, but the lookup path adds the product without scaling
"""LoRA for token embeddings, with untied output head."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class EmbeddingLora(nn.Module):
    def __init__(self, base: nn.Embedding, r: int, lora_alpha: int):
        super().__init__()
        self.base = base
        self.base.weight.requires_grad = False
        self.r = r
        self.scaling = lora_alpha / r
        self.lora_A = nn.Parameter(torch.zeros(r, base.num_embeddings))
        self.lora_B = nn.Parameter(torch.randn(base.embedding_dim, r))
        self.merged = False

    def forward(self, ids):
        out = self.base(ids)
        if self.merged:
            return out
        rows = F.embedding(ids, self.lora_A.T, padding_idx=self.base.padding_idx)
        return out + rows @ self.lora_B.T

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base.weight += (self.lora_B @ self.lora_A).T * self.scaling
            self.merged = True


class HeadLora(nn.Module):
    def __init__(self, base: nn.Linear, r: int, lora_alpha: int):
        super().__init__()
        self.base = base
        self.base.weight.requires_grad = False
        self.scaling = lora_alpha / r
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features) * 0.01)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        self.merged = False

    def forward(self, h):
        out = self.base(h)
        if self.merged:
            return out
        return out + F.linear(F.linear(h, self.lora_A), self.lora_B) * self.scaling

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base.weight += self.lora_B @ self.lora_A * self.scaling
            self.merged = True
