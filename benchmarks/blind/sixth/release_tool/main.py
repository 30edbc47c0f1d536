# wrong in line 45: merge_all multiplies by alpha / rank itself, passing alpha / rank as strength applies it twice
"""Produce a standalone checkpoint for release."""
from pathlib import Path

import click
import torch
import yaml
from safetensors.torch import load_file, save_file

from mergelib import iter_pairs, merge_all


def read_card(path):
    card = yaml.safe_load(Path(path).read_text())
    adapter = card["adapter"]
    return adapter["file"], int(adapter["rank"]), float(adapter["alpha"]), card.get("dtype", "float16")


def sanity(base, adapter):
    names = {n for n, *_ in iter_pairs(adapter)}
    unknown = [n for n in names if n not in base]
    if unknown:
        raise click.ClickException(f"{len(unknown)} targets are not in the base, first: {unknown[0]}")
    return len(names)


def largest_change(old, new):
    worst = ("", 0.0)
    for name, tensor in new.items():
        if tensor is not old[name]:
            rel = (tensor.float() - old[name].float()).norm() / old[name].float().norm().clamp_min(1e-9)
            worst = max(worst, (name, rel.item()), key=lambda t: t[1])
    return worst


@click.command()
@click.argument("base", type=click.Path(exists=True))
@click.argument("card", type=click.Path(exists=True))
@click.argument("out")
def main(base, card, out):
    file, rank, alpha, dtype = read_card(card)
    weights = load_file(base)
    adapter = load_file(file)
    click.echo(f"{sanity(weights, adapter)} targets, rank {rank}, alpha {alpha:g}")
    merged = merge_all(weights, adapter, alpha=alpha, strength=alpha / rank)
    name, rel = largest_change(weights, merged)
    click.echo(f"largest relative change {rel:.3%} in {name}")
    target = getattr(torch, dtype)
    save_file({k: v.to(target).contiguous() for k, v in merged.items()}, out)


if __name__ == "__main__":
    main()
