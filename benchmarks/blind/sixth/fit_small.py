# wrong in lines 36 and 39: validate() merges into the base weights every epoch and nothing takes the delta out again
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Adapted(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features ** 0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank
        self.merged = False

    def forward(self, x):
        y = self.base(x)
        return y if self.merged else y + x @ self.lora_A.T @ self.lora_B.T * self.scaling

    @torch.no_grad()
    def merge(self):
        self.base.weight += self.scaling * self.lora_B @ self.lora_A
        self.merged = True


def adapters(model):
    return [m for m in model.modules() if isinstance(m, Adapted)]


@torch.no_grad()
def validate(model, loader):
    model.eval()
    for m in adapters(model):
        m.merge()
    total = sum(nn.functional.mse_loss(model(x), y, reduction="sum").item() for x, y in loader)
    for m in adapters(model):
        m.merged = False
    model.train()
    return total / len(loader.dataset)


def fit(model, train, val, epochs, lr):
    params = [p for m in adapters(model) for p in (m.lora_A, m.lora_B)]
    opt = torch.optim.Adam(params, lr=lr)
    history = []
    for _ in range(epochs):
        for x, y in train:
            opt.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            opt.step()
        history.append(validate(model, val))
    return history


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--lr", type=float, default=1e-2)
    ns = ap.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 10)
    data = TensorDataset(x, x @ torch.randn(10, 3))
    model = nn.Sequential(Adapted(nn.Linear(10, 32), 4, 8), nn.ReLU(), Adapted(nn.Linear(32, 3), 4, 8))
    print(fit(model, DataLoader(data, 32), DataLoader(data, 64), ns.epochs, ns.lr))


if __name__ == "__main__":
    main()
