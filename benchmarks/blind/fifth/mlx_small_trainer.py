# wrong in lines 39 and 47 and 48: the run config keeps rank only, resume_layers therefore builds with the default scale 20.0 instead of the trained one
import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten


class AdaptedLinear(nn.Module):
    def __init__(self, linear, rank=8, scale=20.0):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.scale = scale
        bound = 1 / math.sqrt(in_dims)
        self.u = mx.random.uniform(-bound, bound, (in_dims, rank))
        self.v = mx.zeros((rank, out_dims))

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.u) @ self.v).astype(x.dtype)


def adapt(model, rank, scale, last=8):
    model.freeze()
    for block in model.layers[-last:]:
        attn = block.self_attn
        attn.q_proj = AdaptedLinear(attn.q_proj, rank, scale)
        attn.v_proj = AdaptedLinear(attn.v_proj, rank, scale)
    return model


def save_run(model, folder, rank, alpha, last):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flat = dict(tree_flatten(model.trainable_parameters()))
    mx.save_safetensors(str(folder / "uv.safetensors"), flat)
    run = {"rank": rank, "last": last}
    (folder / "run.json").write_text(json.dumps(run))


def resume_layers(model, folder):
    run = json.loads((Path(folder) / "run.json").read_text())
    for block in model.layers[-run["last"]:]:
        attn = block.self_attn
        attn.q_proj = AdaptedLinear(attn.q_proj, run["rank"])
        attn.v_proj = AdaptedLinear(attn.v_proj, run["rank"])
    model.load_weights(str(Path(folder) / "uv.safetensors"), strict=False)
    return model


def train(model, batches, loss_fn, opt, folder, rank=16, alpha=32.0, last=8):
    adapt(model, rank, alpha / rank, last)
    step = nn.value_and_grad(model, loss_fn)
    for i, batch in enumerate(batches):
        loss, grads = step(model, *batch)
        opt.update(model, grads)
        mx.eval(model.parameters(), opt.state)
        if i % 200 == 199:
            print(i, loss.item())
            save_run(model, folder, rank, alpha, last)
