# wrong in line 33: the forward adds the lookup of A times B without the scaling that merge uses
import torch
import torch.nn.functional as F
from torch import nn


class LoRATokenTable(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim, r=4, lora_alpha=8, merge_weights=True, **kw):
        super().__init__(num_embeddings, embedding_dim, **kw)
        self.r = r
        self.merged = False
        self.merge_weights = merge_weights
        self.lora_A = nn.Parameter(self.weight.new_zeros((r, num_embeddings)))
        self.lora_B = nn.Parameter(self.weight.new_zeros((embedding_dim, r)))
        self.scaling = lora_alpha / r
        self.weight.requires_grad = False
        nn.init.normal_(self.lora_B)

    def train(self, mode=True):
        super().train(mode)
        if mode and self.merged:
            self.weight.data -= (self.lora_B @ self.lora_A).T * self.scaling
            self.merged = False
        elif not mode and self.merge_weights and not self.merged:
            self.weight.data += (self.lora_B @ self.lora_A).T * self.scaling
            self.merged = True
        return self

    def forward(self, ids):
        out = super().forward(ids)
        if self.r > 0 and not self.merged:
            rows = F.embedding(ids, self.lora_A.T, self.padding_idx)
            out = out + rows @ self.lora_B.T
        return out
