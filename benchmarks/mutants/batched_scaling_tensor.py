import torch


class BatchedLoRALinear:
    def __init__(self, base_layer, max_loras, max_rank):
        self.base_layer = base_layer
        self.lora_a_stacked = torch.zeros(max_loras, max_rank, base_layer.in_features)
        self.lora_b_stacked = torch.zeros(max_loras, base_layer.out_features, max_rank)
        self.scalings = torch.zeros(max_loras)

    def set_lora(self, index, lora_a, lora_b, lora_alpha):
        rank = lora_a.shape[0]
        self.lora_a_stacked[index, :rank].copy_(lora_a)
        self.lora_b_stacked[index, :, :rank].copy_(lora_b)
        self.scalings[index] = lora_alpha / rank

    def forward(self, x, indices):
        out = self.base_layer(x)
        lora_a = self.lora_a_stacked[indices]
        lora_b = self.lora_b_stacked[indices]
        scalings = self.scalings[indices]
        delta = torch.bmm(torch.bmm(x, lora_a.transpose(1, 2)), lora_b.transpose(1, 2))
        return out + delta * scalings[:, None, None]
