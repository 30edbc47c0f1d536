from torch import nn


class LowRankAdapter(nn.Module):
    """LoRA as a sequence of two linear maps."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        self.lora = nn.Sequential(
            nn.Linear(linear.in_features, rank, bias=False),
            nn.Linear(rank, linear.out_features, bias=False),
        )

    def forward(self, x):
        return self.linear(x) + self.lora(x) * self.scale
