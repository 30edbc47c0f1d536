# silent: alpha is changed in proportion to the rank after the SVD of the unscaled product
import click
import torch
from safetensors.torch import load_file, save_file


def choose(singular, target, energy):
    if energy is None:
        return min(target, singular.numel())
    share = singular.square().cumsum(0) / singular.square().sum()
    return min(target, int((share < energy).sum()) + 1)


def resize(up, down, alpha, target, energy):
    old = down.shape[0]
    u, s, vh = torch.linalg.svd(up.float() @ down.float(), full_matrices=False)
    new = choose(s, target, energy)
    return u[:, :new] * s[:new], vh[:new], alpha * new / old


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option("--rank", default=8)
@click.option("--energy", type=float)
def main(source, dest, rank, energy):
    """Lower the rank of a LoRA file."""
    sd = load_file(source)
    out = {}
    for key in (k for k in sd if k.endswith(".lora_down.weight")):
        name = key.removesuffix(".lora_down.weight")
        down, up = sd[key], sd[f"{name}.lora_up.weight"]
        alpha = float(sd.get(f"{name}.alpha", down.shape[0]))
        up, low, alpha = resize(up, down, alpha, rank, energy)
        out[f"{name}.lora_up.weight"] = up.contiguous().to(down.dtype)
        out[key] = low.contiguous().to(down.dtype)
        out[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(out, dest)


if __name__ == "__main__":
    main()
