# wrong in line 17: scale is in w1 and again outside
import torch


class LokrModule(torch.nn.Module):
    def __init__(self, w1, w2_a, w2_b, alpha, dim):
        super().__init__()
        self.lokr_w1 = w1
        self.lokr_w2_a, self.lokr_w2_b = w2_a, w2_b
        self.scale = alpha / dim

    def get_weight(self):
        w2 = self.lokr_w2_a @ self.lokr_w2_b
        return torch.kron(self.lokr_w1 * self.scale, w2)

    def merge_to(self, weight, multiplier=1.0):
        return weight + self.get_weight() * self.scale * multiplier

    def forward(self, x, weight):
        return torch.nn.functional.linear(x, weight + self.get_weight())
