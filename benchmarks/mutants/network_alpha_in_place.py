from torch import nn


class LoRALinearLayer(nn.Module):
    def __init__(self, in_features, out_features, rank=4, network_alpha=None):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        self.network_alpha = network_alpha
        self.rank = rank

    def forward(self, hidden_states):
        dtype = self.down.weight.dtype
        up_hidden_states = self.up(self.down(hidden_states.to(dtype)))
        if self.network_alpha is not None:
            up_hidden_states = up_hidden_states * (self.network_alpha / self.rank)
        return up_hidden_states.to(hidden_states.dtype)


class LoRACompatibleLinear(nn.Linear):
    def fuse_lora(self, lora_scale=1.0):
        w_orig = self.weight.data.float()
        w_up = self.lora_layer.up.weight.data.float()
        w_down = self.lora_layer.down.weight.data.float()
        if self.lora_layer.network_alpha is not None:
            w_up = w_up * self.lora_layer.network_alpha / self.lora_layer.rank
        fused_weight = w_orig + lora_scale * (w_up @ w_down)
        self.weight.data = fused_weight.to(dtype=self.weight.dtype)

    def forward(self, hidden_states, scale=1.0):
        return super().forward(hidden_states) + scale * self.lora_layer(hidden_states)
