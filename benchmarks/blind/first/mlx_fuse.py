# wrong in line 24: fuse without scale
import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    @staticmethod
    def from_linear(linear, rank=8, scale=20.0):
        out, inp = linear.weight.shape
        layer = LoRALinear(inp, out, rank, scale)
        layer.linear = linear
        return layer

    def __init__(self, inp, out, rank, scale):
        super().__init__()
        self.linear = nn.Linear(inp, out)
        self.scale = scale
        self.lora_a = mx.random.uniform(shape=(inp, rank))
        self.lora_b = mx.zeros((rank, out))

    def fuse(self):
        weight = self.linear.weight
        fused = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        fused.weight = weight + (self.lora_b.T @ self.lora_a.T)
        return fused

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)
