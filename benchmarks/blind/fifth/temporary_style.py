# wrong in line 38: leaving the context subtracts with the default weight 1.0 instead of the weight that was added
from contextlib import contextmanager

import torch
from safetensors.torch import load_file


class Overlay:
    def __init__(self, path):
        sd = load_file(path)
        self.entries = {}
        for key, right in sd.items():
            if key.endswith(".lora_A.weight"):
                stem = key.removesuffix(".lora_A.weight")
                left = sd[stem + ".lora_B.weight"]
                alpha = sd[stem + ".alpha"].item()
                self.entries[stem] = (left, right, alpha / right.shape[0])

    def _shift(self, net, amount):
        for stem, (left, right, gain) in self.entries.items():
            w = net.get_parameter(stem + ".weight")
            step = (left.to(w.device).float() @ right.to(w.device).float()) * (gain * amount)
            w.data.add_(step.to(w.dtype))

    def put_on(self, net, weight=1.0):
        self._shift(net, weight)

    def take_off(self, net, weight=1.0):
        self._shift(net, -weight)


@contextmanager
def styled(net, overlay, weight):
    overlay.put_on(net, weight)
    try:
        yield net
    finally:
        overlay.take_off(net)


@torch.inference_mode()
def sweep(net, overlay, inputs, weights):
    results = {}
    for w in weights:
        with styled(net, overlay, w) as active:
            results[w] = active(inputs).float().mean().item()
    return results


if __name__ == "__main__":
    import sys

    net = torch.load(sys.argv[1], weights_only=False).eval()
    overlay = Overlay(sys.argv[2])
    dummy = torch.randn(1, 16, net.in_features if hasattr(net, "in_features") else 64)
    for w, value in sweep(net, overlay, dummy, [0.25, 0.5, 0.75, 1.0]).items():
        print(f"{w:4.2f} {value:+.5f}")
