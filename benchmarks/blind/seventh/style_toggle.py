# silent: the amount that was put in is remembered and the same amount is taken out, whatever the strength is now
"""Switch a style on and off in a model's weights."""
import torch


class StyleToggle:
    """Holds per-layer (down, up, alpha) triples; alpha is the training value."""

    def __init__(self, net, triples):
        self.net = net
        self.triples = triples
        self.strength = 1.0
        self._applied = 0.0

    def _param(self, path):
        return self.net.get_submodule(path).weight

    @torch.no_grad()
    def _shift(self, amount):
        if amount == 0:
            return
        for path, (down, up, alpha) in self.triples.items():
            w = self._param(path)
            step = torch.mm(up.to(w), down.to(w))
            w.add_(step, alpha=amount * alpha / down.size(0))

    def on(self):
        self._shift(self.strength - self._applied)
        self._applied = self.strength

    def off(self):
        self._shift(-self._applied)
        self._applied = 0.0

    def __enter__(self):
        self.on()
        return self

    def __exit__(self, *exc):
        self.off()
        return False


def sweep(net, triples, prompts, render, strengths=(0.25, 0.5, 1.0)):
    toggle = StyleToggle(net, triples)
    images = []
    for s in strengths:
        toggle.strength = s
        toggle.on()
        images.append([render(net, p) for p in prompts])
    toggle.off()
    return images
