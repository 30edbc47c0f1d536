# wrong in line 18: embedding forward misses the scale its merge has
import torch
import torch.nn as nn
import torch.nn.functional as F


class LoraEmbedding(nn.Embedding):
    def __init__(self, n, d, r, alpha):
        super().__init__(n, d)
        self.lora_A = nn.Parameter(torch.zeros(r, n))
        self.lora_B = nn.Parameter(torch.zeros(d, r))
        self.scaling = alpha / r

    def merge(self):
        self.weight.data += (self.lora_B @ self.lora_A).T * self.scaling

    def forward(self, x):
        return super().forward(x) + F.embedding(x, self.lora_A.T) @ self.lora_B.T
