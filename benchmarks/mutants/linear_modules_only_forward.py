from torch import nn


class LoRALinearLayer(nn.Module):
    def __init__(self, in_features, out_features, rank=4, network_alpha=None):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        self.network_alpha = network_alpha
        self.rank = rank
        self.scale = 1.0 if network_alpha is None else network_alpha / rank

    def forward(self, hidden_states):
        down_hidden_states = self.down(hidden_states)
        up_hidden_states = self.up(down_hidden_states)
        return up_hidden_states * self.scale


class LoRACompatibleLinear(nn.Linear):
    def set_lora_layer(self, lora_layer):
        self.lora_layer = lora_layer

    def forward(self, hidden_states):
        out = super().forward(hidden_states)
        if self.lora_layer is not None:
            out = out + self.lora_layer(hidden_states)
        return out
