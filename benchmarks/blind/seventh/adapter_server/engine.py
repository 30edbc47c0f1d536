# wrong in line 25: every adapter has its own lora_alpha in its config (registry.py keeps it), the engine uses the one of its command line for all
"""Inference engine that applies a named adapter to each request."""
import argparse

import torch

from registry import Registry


class Engine:
    def __init__(self, model, layers, registry, lora_alpha):
        self.model = model
        self.registry = registry
        self.lora_alpha = lora_alpha
        self.current = None
        for layer in layers:
            self.model.get_submodule(layer).register_forward_hook(self._hook(layer))

    def _hook(self, layer):
        def add(module, args, output):
            pair = self.current and self.current.pair(layer)
            if not pair:
                return output
            a, b = pair
            scaling = self.lora_alpha / a.shape[0]
            return output + scaling * (args[0] @ a.T.to(output) @ b.T.to(output))

        return add

    @torch.inference_mode()
    def run(self, x, adapter=None):
        self.current = self.registry.get(adapter) if adapter else None
        try:
            return self.model(x)
        finally:
            self.current = None


def parser():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--adapters", required=True)
    p.add_argument("--lora-alpha", type=float, default=16.0)
    return p


def build(args, model, layers):
    return Engine(model, layers, Registry(args.adapters), args.lora_alpha)
