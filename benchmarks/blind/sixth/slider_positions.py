# silent: the setter starts from the trained base factor every time, so repeated calls do not compound
import contextlib

import torch
from torch import nn


class LoraSlider(nn.Module):
    def __init__(self, host, width, alpha):
        super().__init__()
        self.host = host
        self.narrow = nn.Linear(host.in_features, width, bias=False)
        self.widen = nn.Linear(width, host.out_features, bias=False)
        nn.init.zeros_(self.widen.weight)
        self.trained = alpha / width
        self.now = self.trained

    @property
    def position(self):
        return self.now / self.trained

    @position.setter
    def position(self, value):
        self.now = self.trained * value

    def forward(self, x):
        return self.host(x) + self.now * self.widen(self.narrow(x))


class Board:
    def __init__(self, model):
        self.model = model

    def sliders(self):
        return (m for m in self.model.modules() if isinstance(m, LoraSlider))

    def move(self, value):
        for s in self.sliders():
            s.position = value

    @contextlib.contextmanager
    def at(self, value):
        before = [(s, s.position) for s in self.sliders()]
        self.move(value)
        try:
            yield self.model
        finally:
            for s, value in before:
                s.position = value

    @torch.no_grad()
    def contact_sheet(self, x, values):
        out = {}
        for v in values:
            with self.at(v) as model:
                out[v] = model(x)
        return out

    def direction_loss(self, x, positive, negative):
        """training step of a concept slider: push both ends apart"""
        with self.at(1.0) as m:
            up = nn.functional.mse_loss(m(x), positive)
        with self.at(-1.0) as m:
            down = nn.functional.mse_loss(m(x), negative)
        return up + down


def mount(model, width=4, alpha=1.0):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, LoraSlider(child, width, alpha))
        else:
            mount(child, width, alpha)
    return Board(model)
