# wrong in line 42: to_out's result is multiplied with self.scale although LoRALinearLayer already applied alpha / rank, so it is applied twice there
import torch
import torch.nn as nn
import torch.nn.functional as F


class LoRALinearLayer(nn.Module):
    def __init__(self, in_features, out_features, rank=4, network_alpha=None):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        self.network_alpha = network_alpha
        self.rank = rank
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        h = self.up(self.down(x.to(self.down.weight.dtype)))
        if self.network_alpha is not None:
            h = h * (self.network_alpha / self.rank)
        return h.to(x.dtype)


class LoRAAttnProcessor(nn.Module):
    def __init__(self, hidden, cross=None, rank=4, network_alpha=None):
        super().__init__()
        cross = cross or hidden
        self.scale = network_alpha / rank if network_alpha is not None else 1.0
        self.to_q_lora = LoRALinearLayer(hidden, hidden, rank, network_alpha)
        self.to_k_lora = LoRALinearLayer(cross, hidden, rank, network_alpha)
        self.to_v_lora = LoRALinearLayer(cross, hidden, rank, network_alpha)
        self.to_out_lora = LoRALinearLayer(hidden, hidden, rank, network_alpha)

    def forward(self, attn, x, context=None, lora_scale=1.0):
        context = x if context is None else context
        q = attn.to_q(x) + lora_scale * self.to_q_lora(x)
        k = attn.to_k(context) + lora_scale * self.to_k_lora(context)
        v = attn.to_v(context) + lora_scale * self.to_v_lora(context)
        split = lambda t: t.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        h = F.scaled_dot_product_attention(split(q), split(k), split(v))
        h = h.transpose(1, 2).flatten(2)
        return attn.to_out[0](h) + lora_scale * self.scale * self.to_out_lora(h)
