# wrong in line 43: a layer without its own alpha takes over the value of the layer before it in the loop, not its own rank
"""Import adapter branches from a training snapshot into a runtime model.

Layers without a stored alpha were trained with alpha equal to their rank.
"""
import logging
from collections import defaultdict

import torch

log = logging.getLogger(__name__)


def by_layer(snapshot):
    layers = defaultdict(dict)
    for key, tensor in snapshot.items():
        layer, _, leaf = key.rpartition("/")
        layers[layer][leaf] = tensor
    return dict(sorted(layers.items()))


class BranchImporter:
    def __init__(self, model, strict=True):
        self.model = model
        self.strict = strict
        self.skipped = []

    @torch.no_grad()
    def run(self, snapshot):
        alpha = None
        for layer, tensors in by_layer(snapshot).items():
            try:
                module = self.model.get_submodule(layer)
            except AttributeError:
                if self.strict:
                    raise
                self.skipped.append(layer)
                continue
            down, up = tensors["down"], tensors["up"]
            rank = down.shape[0]
            if "alpha" in tensors:
                alpha = tensors["alpha"].item()
            elif alpha is None:
                alpha = rank
            gain = alpha / rank
            module.weight += gain * (up.float() @ down.float()).to(module.weight.dtype)
            log.debug("%s: rank %d gain %.3f", layer, rank, gain)
        return self.skipped


def import_file(model, path):
    return BranchImporter(model, strict=False).run(torch.load(path, map_location="cpu"))
