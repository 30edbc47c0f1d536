# silent: a is (in, rank) here, so shape[-1] is the rank; forward and fuse both use alpha / rank once
"""Low-rank update for a bank of expert projections (MLX)."""
import mlx.core as mx
import mlx.nn as nn


class ExpertBank(nn.Module):
    def __init__(self, weight: mx.array):
        super().__init__()
        self.weight = weight  # (experts, out, in)

    def __call__(self, x, idx):
        return (x[:, None, :] @ self.weight[idx].swapaxes(-1, -2)).squeeze(1)


class LoRAExpertBank(nn.Module):
    """y = x W_e^T + (alpha / rank) * x a_e b_e"""

    def __init__(self, bank: ExpertBank, rank: int, alpha: float):
        super().__init__()
        experts, out, inp = bank.weight.shape
        self.bank = bank
        self.alpha = alpha
        self.a = mx.random.normal(shape=(experts, inp, rank)) * (inp ** -0.5)
        self.b = mx.zeros((experts, rank, out))

    @property
    def rank(self):
        return self.a.shape[-1]

    def __call__(self, x, idx):
        y = self.bank(x, idx)
        z = (x[:, None, :] @ self.a[idx]) @ self.b[idx]
        return y + (self.alpha / self.rank) * z.squeeze(1)

    def fuse(self) -> ExpertBank:
        delta = (self.a @ self.b).swapaxes(-1, -2)
        rank = self.b.shape[1]
        return ExpertBank(self.bank.weight + delta * (self.alpha / rank))


def convert_experts(model: nn.Module, rank=8, alpha=16.0):
    for _, module in model.named_modules():
        for key, child in module.children().items():
            if isinstance(child, ExpertBank):
                module[key] = LoRAExpertBank(child, rank, alpha)
    return model
