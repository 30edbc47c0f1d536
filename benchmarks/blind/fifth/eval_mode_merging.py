# wrong in line 30: train(False) merges without looking at self.merged, calling eval() twice adds the update twice
import math

import torch
from torch import nn
from torch.nn import functional as F


class MergingLinear(nn.Linear):
    def __init__(self, n_in, n_out, rank=4, alpha=8.0, **kwargs):
        super().__init__(n_in, n_out, **kwargs)
        self.weight.requires_grad = False
        self.narrow = nn.Parameter(torch.empty(rank, n_in))
        self.widen = nn.Parameter(torch.zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.narrow, a=math.sqrt(5))
        self.gain = alpha / rank
        self.merged = False

    def update(self):
        return self.gain * (self.widen @ self.narrow)

    def train(self, mode: bool = True):
        super().train(mode)
        with torch.no_grad():
            if mode:
                if self.merged:
                    self.weight -= self.update()
                self.merged = False
            else:
                self.weight += self.update()
                self.merged = True
        return self

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        if not self.merged:
            y = y + self.gain * F.linear(F.linear(x, self.narrow), self.widen)
        return y


class Tagger(nn.Module):
    def __init__(self, vocab, width, classes, rank=4):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.mid = MergingLinear(width, width, rank=rank)
        self.head = nn.Linear(width, classes)

    def forward(self, ids):
        return self.head(F.gelu(self.mid(self.embed(ids))))


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = total = 0
    for ids, tags in loader:
        guess = model(ids).argmax(-1)
        right += (guess == tags).sum().item()
        total += tags.numel()
    return right / max(1, total)


def fit(model, train_loader, dev_loader, test_loader, epochs, optimizer):
    for epoch in range(epochs):
        model.train()
        for ids, tags in train_loader:
            loss = F.cross_entropy(model(ids).flatten(0, 1), tags.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, accuracy(model, dev_loader))
        print(epoch, accuracy(model, test_loader))
