"""Forward pass of one decoder step for a batch of tenants."""
import argparse
import logging

import numpy as np
from safetensors.numpy import load_file

from store import Store

log = logging.getLogger("engine")


class Engine:
    def __init__(self, weights, store: Store):
        self.weights = weights
        self.store = store

    def linear(self, layer, x, slots):
        y = x @ self.weights[f"{layer}.weight"].T
        has = slots >= 0
        if has.any():
            idx = slots[has]
            h = np.matmul(x[has][:, None, :], self.store.a[layer][idx])
            y[has] += np.matmul(h, self.store.b[layer][idx])[:, 0]
        return y

    def mlp(self, i, x, slots):
        gate = self.linear(f"model.layers.{i}.mlp.gate_proj", x, slots)
        up = self.linear(f"model.layers.{i}.mlp.up_proj", x, slots)
        return self.linear(f"model.layers.{i}.mlp.down_proj", gate / (1 + np.exp(-gate)) * up, slots)


def layer_shapes(weights):
    return {
        k.removesuffix(".weight"): (w.shape[1], w.shape[0])
        for k, w in weights.items()
        if ".mlp." in k and k.endswith(".weight")
    }


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("adapters")
    ap.add_argument("batch", help=".npz with x [n, d] and tenant names")
    args = ap.parse_args()
    weights = load_file(args.model)
    store = Store(args.adapters, layer_shapes(weights))
    batch = np.load(args.batch)
    slots = np.array([store.add(t) if t else -1 for t in batch["tenant"].tolist()])
    engine = Engine(weights, store)
    out = engine.mlp(0, batch["x"].astype(np.float32), slots)
    log.info("%d rows, %d tenants, norm %.3f", len(out), len(store.index), np.linalg.norm(out))


if __name__ == "__main__":
    main()
