# silent: weight and own gain of every adapter sit with their sign on the up side only, the result has alpha = rank
import argparse
from functools import reduce

import torch
from safetensors.torch import load_file, save_file


def load(path):
    sd = load_file(path)
    table = {}
    for k, down in sd.items():
        if k.endswith(".lora_down.weight"):
            stem = k[: -len(".lora_down.weight")]
            alpha = sd.get(stem + ".alpha")
            gain = 1.0 if alpha is None else alpha.item() / down.size(0)
            table[stem] = (sd[stem + ".lora_up.weight"].float(), down.float(), gain)
    return table


def spec(text):
    path, _, weight = text.rpartition(":")
    return path, float(weight)


def mix(tables, weights):
    names = sorted(reduce(set.union, (set(t) for t in tables), set()))
    merged = {}
    for name in names:
        ups, downs = [], []
        for table, w in zip(tables, weights):
            if name in table:
                up, down, gain = table[name]
                ups.append(up * (w * gain))
                downs.append(down)
        U, D = torch.cat(ups, dim=1), torch.cat(downs, dim=0)
        merged[name] = U, D
    return merged


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("inputs", nargs="+", type=spec, metavar="FILE:WEIGHT")
    ap.add_argument("-o", "--output", required=True)
    ap.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], default="float16")
    args = ap.parse_args()
    dtype = getattr(torch, args.dtype)

    tables = [load(p) for p, _ in args.inputs]
    merged = mix(tables, [w for _, w in args.inputs])
    state = {}
    for name, (U, D) in merged.items():
        state[name + ".lora_up.weight"] = U.to(dtype).contiguous()
        state[name + ".lora_down.weight"] = D.to(dtype).contiguous()
        state[name + ".alpha"] = torch.tensor(float(D.shape[0]))
    save_file(state, args.output)
