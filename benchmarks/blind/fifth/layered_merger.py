# silent: the difference that was really added is kept, so taking it off does not depend on the strength of that moment
import enum
from dataclasses import dataclass, field

import torch


class State(enum.Enum):
    OFF = "off"
    ON = "on"


@dataclass
class Layered:
    name: str
    pairs: dict
    strength: float = 1.0
    state: State = State.OFF
    added: dict = field(default_factory=dict)

    def step(self, path):
        up, down, alpha = self.pairs[path]
        return self.strength * alpha / down.shape[0] * (up.float() @ down.float())


class ReversibleMerger:
    def __init__(self, model):
        self.model = model
        self.layers: dict[str, Layered] = {}

    def register(self, name, pairs, strength=1.0):
        if name in self.layers:
            raise KeyError(f"{name} exists")
        self.layers[name] = Layered(name, pairs, strength)

    @torch.no_grad()
    def on(self, name):
        layer = self.layers[name]
        if layer.state is State.ON:
            return
        for path in layer.pairs:
            weight = self.model.get_submodule(path).weight
            step = layer.step(path).to(weight)
            weight.add_(step)
            layer.added[path] = step.to("cpu")
        layer.state = State.ON

    @torch.no_grad()
    def off(self, name):
        layer = self.layers[name]
        if layer.state is State.OFF:
            return
        for path, step in layer.added.items():
            weight = self.model.get_submodule(path).weight
            weight.sub_(step.to(weight.device))
        layer.added.clear()
        layer.state = State.OFF

    def set_strength(self, name, value):
        layer = self.layers[name]
        layer.strength = value
        if layer.state is State.ON:
            self.off(name)
            self.on(name)

    def clear(self):
        for name in reversed(list(self.layers)):
            self.off(name)
