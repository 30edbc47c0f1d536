"""Fold saved branches into a plain speech encoder."""
import torch


@torch.no_grad()
def fold(encoder, path, amount=1.0):
    payload = torch.load(path, map_location="cpu")
    for name, item in payload.items():
        layer = encoder.get_submodule(name)
        down, up = item["down"], item["up"]
        factor = amount * item["alpha"] / down.shape[0]
        layer.weight.add_((up @ down).to(layer.weight), alpha=factor)
    return sorted(payload)


def fold_many(encoder, paths, amounts):
    for path, amount in zip(paths, amounts):
        fold(encoder, path, amount)
    return encoder
