# silent: the scale is folded into B once at load and the forward rightly adds none
import torch


class PackedAdapter:
    def __init__(self, rank, alpha, lora_a, lora_b):
        self.rank = rank
        self.alpha = alpha
        self.scaling = alpha / rank
        self.lora_a = lora_a
        self.lora_b = lora_b

    def optimize(self):
        """Fold the scaling into lora_b so that kernels do not need it."""
        if self.scaling == 1:
            return self
        self.lora_b = self.lora_b * self.scaling
        self.scaling = 1.0
        return self


class Punica:
    def __init__(self):
        self.layers = {}

    def add(self, module_name, adapter):
        self.layers.setdefault(module_name, []).append(adapter.optimize())

    def shrink(self, x, adapter):
        return x @ adapter.lora_a.t()

    def expand(self, buf, adapter):
        return buf @ adapter.lora_b.t()

    def forward(self, module_name, x, y, index):
        adapter = self.layers[module_name][index]
        y = y + self.expand(self.shrink(x, adapter), adapter)
        return y


if __name__ == "__main__":
    p = Punica()
    p.add("q_proj", PackedAdapter(8, 16, torch.randn(8, 32), torch.randn(64, 8)))
    print(p.forward("q_proj", torch.randn(2, 32), torch.zeros(2, 64), 0).shape)
