from torch import nn
from torch.nn import functional as F


class LoRAEmbedding(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim, r=0, lora_alpha=1, **kwargs):
        super().__init__(num_embeddings, embedding_dim, **kwargs)
        self.r = r
        self.lora_alpha = lora_alpha
        self.lora_A = nn.Parameter(self.weight.new_zeros((r, num_embeddings)))
        self.lora_B = nn.Parameter(self.weight.new_zeros((embedding_dim, r)))
        self.scaling = self.lora_alpha / self.r
        self.merged = False

    def merge(self):
        self.weight.data += (self.lora_B @ self.lora_A).transpose(0, 1) * self.scaling

    def forward(self, x):
        result = super().forward(x)
        after_A = F.embedding(x, self.lora_A.transpose(0, 1), self.padding_idx)
        result += (after_A @ self.lora_B.transpose(0, 1)) * self.scaling
        return result
