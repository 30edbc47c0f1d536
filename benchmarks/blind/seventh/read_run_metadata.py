# wrong in line 18: metadata values are strings, bool("False") is True, so plain adapters are read with alpha / sqrt(rank)
"""Merge adapters of the in-house trainer; hyper-parameters are in the file metadata.

The trainer writes str(value) of each: {"rank": "16", "alpha": "32.0", "rslora": "False"}.
"""
import math

import click
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


class Run:
    def __init__(self, metadata):
        self.rank = int(metadata["rank"])
        self.alpha = float(metadata["alpha"])
        self.rslora = bool(metadata.get("rslora", ""))

    @property
    def scaling(self):
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def read(path):
    with safe_open(path, framework="pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, Run(f.metadata())


def merge(base, adapter, run):
    merged = dict(base)
    for key, a in adapter.items():
        if not key.endswith(".lora_A"):
            continue
        layer = key[: -len(".lora_A")]
        b = adapter[f"{layer}.lora_B"]
        weight = base[f"{layer}.weight"]
        delta = run.scaling * (b.float() @ a.float())
        merged[f"{layer}.weight"] = (weight.float() + delta).to(weight.dtype)
    return merged


@click.command()
@click.option("--base", required=True)
@click.option("--adapter", required=True)
@click.option("--out", required=True)
def main(base, adapter, out):
    tensors, run = read(adapter)
    click.echo(f"rank {run.rank}, scaling {run.scaling:.3f}")
    save_file(merge(load_file(base), tensors, run), out)


if __name__ == "__main__":
    main()
