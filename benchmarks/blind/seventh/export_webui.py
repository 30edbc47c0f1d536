# silent: the stored alpha is alpha * sqrt(r) for the rank-stabilised case, and the reader divides by r, which gives alpha / sqrt(r)
"""Write trained factors in the web-ui layout (reader multiplies by alpha / dim)."""
from math import sqrt

import numpy as np


class WebuiWriter:
    def __init__(self, prefix="lora_unet_", half=True):
        self.prefix = prefix
        self.dtype = np.float16 if half else np.float32

    def flat(self, path):
        return self.prefix + path.replace(".", "_")

    def file_alpha(self, hp):
        rank = hp["rank"]
        if hp.get("rank_stabilized", False):
            return hp["alpha"] * sqrt(rank)
        return hp["alpha"]

    def write(self, layers, hp):
        """`layers` maps a module path to (A, B), `hp` holds the training hyper-parameters."""
        out = {}
        for path, (a, b) in layers.items():
            if a.shape[0] != hp["rank"] or b.shape[1] != hp["rank"]:
                raise ValueError(f"{path}: unexpected rank {a.shape[0]}")
            name = self.flat(path)
            out[name + ".lora_down.weight"] = a.astype(self.dtype)
            out[name + ".lora_up.weight"] = b.astype(self.dtype)
            out[name + ".alpha"] = np.float32(self.file_alpha(hp))
        return out

    def metadata(self, hp):
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(hp["rank"]),
            "ss_network_alpha": str(self.file_alpha(hp)),
        }


def save(path, layers, hp):
    writer = WebuiWriter()
    np.savez(path, __metadata__=np.array(list(writer.metadata(hp).items())), **writer.write(layers, hp))
