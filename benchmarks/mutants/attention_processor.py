from torch import nn


class LoRAAttnProcessor(nn.Module):
    def __init__(self, hidden_size, rank=4, network_alpha=None):
        super().__init__()
        self.rank = rank
        alpha = rank if network_alpha is None else network_alpha
        self.scale = alpha / rank
        self.to_q_down = nn.Linear(hidden_size, rank, bias=False)
        self.to_q_up = nn.Linear(rank, hidden_size, bias=False)
        self.to_v_down = nn.Linear(hidden_size, rank, bias=False)
        self.to_v_up = nn.Linear(rank, hidden_size, bias=False)

    def __call__(self, attn, hidden_states):
        query = attn.to_q(hidden_states) + self.to_q_up(self.to_q_down(hidden_states)) * self.scale
        value = attn.to_v(hidden_states) + self.to_v_up(self.to_v_down(hidden_states)) * self.scale
        return query, value
