# wrong in line 47: the strength multiplies the whole rotation instead of its difference from the identity, so 0.5 also halves the base weight
"""Orthogonal fine-tuning (block-diagonal, Cayley) adapters for a ViT, with a strength."""
import argparse
import logging

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

log = logging.getLogger("oft")


def skew(vec: torch.Tensor, size: int):
    """[blocks, size*(size-1)/2] -> [blocks, size, size]"""
    out = vec.new_zeros(vec.shape[0], size, size)
    i, j = torch.triu_indices(size, size, offset=1, device=vec.device)
    out[:, i, j] = vec
    return out - out.transpose(1, 2)


def cayley(q: torch.Tensor):
    eye = torch.eye(q.shape[-1], device=q.device, dtype=q.dtype).expand_as(q)
    return torch.linalg.solve(eye + q, eye - q, left=False)


class OFTLinear(nn.Module):
    def __init__(self, base: nn.Linear, vec: torch.Tensor, block: int, constraint: float = 0.0):
        super().__init__()
        if base.in_features % block:
            raise ValueError(f"{base.in_features} inputs cannot be cut into blocks of {block}")
        self.base = base
        self.block = block
        self.constraint = constraint
        self.vec = nn.Parameter(vec.float(), requires_grad=False)
        self.strength = 1.0

    def rotation(self):
        q = skew(self.vec, self.block)
        if self.constraint > 0:
            norm = q.flatten(1).norm(dim=1).clamp_min(1e-8)
            q = q * (norm.clamp_max(self.constraint) / norm)[:, None, None]
        return cayley(q)

    def weight(self):
        w = self.base.weight.float()
        rot = self.rotation() * self.strength
        blocks = w.view(w.shape[0], -1, self.block)
        return torch.einsum("obi,bij->obj", blocks, rot).reshape_as(w)

    def forward(self, x):
        return F.linear(x, self.weight().to(x.dtype), self.base.bias)


def attach(model, path):
    state = load_file(path)
    layers = []
    for key, vec in state.items():
        name = key.removesuffix(".oft_R")
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        base = getattr(owner, leaf)
        block = int(round((1 + (1 + 8 * vec.shape[1]) ** 0.5) / 2))
        layer = OFTLinear(base, vec, block)
        setattr(owner, leaf, layer)
        layers.append(layer)
    log.info("%d OFT layers", len(layers))
    return layers


@torch.inference_mode()
def accuracy(model, loader, device):
    good = total = 0
    for images, labels in loader:
        pred = model(images.to(device)).argmax(-1).cpu()
        good += int((pred == labels).sum())
        total += len(labels)
    return good / total


def main():
    import timm
    from torchvision.datasets import ImageFolder

    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("adapter")
    ap.add_argument("images")
    ap.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    ap.add_argument("--device", default="cuda")
    args = ap.parse_args()

    model = timm.create_model("vit_base_patch16_224", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    layers = attach(model, args.adapter)
    model.to(args.device)
    loader = torch.utils.data.DataLoader(ImageFolder(args.images, transform), batch_size=64)
    for value in args.strengths:
        for layer in layers:
            layer.strength = value
        print(f"strength {value:.2f}: {accuracy(model, loader, args.device):.4f}")


if __name__ == "__main__":
    main()
