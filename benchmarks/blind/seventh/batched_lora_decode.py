# wrong in line 37: the batch mixes adapters, but the scale of the first token's adapter is used for all tokens
"""Batched multi-adapter projection used in the decode loop."""
import torch


def gather_mm(x, weights, index):
    return torch.einsum("ti,toi->to", x, weights[index])


class BatchedLora:
    """Keeps stacked A and B of all resident adapters of a layer."""

    def __init__(self, in_features, out_features, max_loras, rank):
        self.rank = rank
        self.lora_a = torch.zeros(max_loras, rank, in_features)
        self.lora_b = torch.zeros(max_loras, out_features, rank)
        self.scales = torch.zeros(max_loras)

    def set_lora(self, index, lora_a, lora_b, alpha):
        self.lora_a[index] = lora_a
        self.lora_b[index] = lora_b
        self.scales[index] = alpha / self.rank

    def reset_lora(self, index):
        self.lora_a[index] = 0
        self.lora_b[index] = 0
        self.scales[index] = 0

    def add(self, y, x, token_lora):
        """y, x: (tokens, dim); token_lora: adapter index of every token, -1 for none."""
        mask = token_lora >= 0
        if not mask.any():
            return y
        ids = token_lora[mask]
        hidden = gather_mm(x[mask], self.lora_a, ids)
        update = gather_mm(hidden, self.lora_b, ids)
        scale = self.scales[ids[0]]
        out = y.clone()
        out[mask] += scale * update
        return out


def expand_ids(request_ids, lengths):
    return torch.repeat_interleave(torch.as_tensor(request_ids), torch.as_tensor(lengths))
