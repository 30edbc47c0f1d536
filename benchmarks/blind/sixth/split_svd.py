# wrong in lines 13 and 14: the singular values are multiplied into both factors, the pair gives U S^2 V
"""Extract a low-rank pair from the difference between a tuned and an original model."""
import click
import torch
from safetensors.torch import load_file, save_file


def decompose(diff, rank, clamp=0.99):
    flat = diff.flatten(1).float()
    U, S, Vh = torch.linalg.svd(flat, full_matrices=False)
    rank = min(rank, S.numel())
    U, S, Vh = U[:, :rank], S[:rank], Vh[:rank]
    up = U * S
    down = S.unsqueeze(1) * Vh
    limit = torch.quantile(torch.cat([up.flatten(), down.flatten()]).abs()[:1_000_000], clamp)
    return up.clamp(-limit, limit), down.clamp(-limit, limit), rank


def eligible(key, a, b):
    return key.endswith(".weight") and a.dim() >= 2 and a.shape == b.shape


@click.command()
@click.argument("original", type=click.Path(exists=True))
@click.argument("tuned", type=click.Path(exists=True))
@click.argument("output")
@click.option("--rank", default=32, show_default=True)
@click.option("--min-diff", default=1e-4, show_default=True)
def main(original, tuned, output, rank, min_diff):
    one, two = load_file(original), load_file(tuned)
    out = {}
    for key in one.keys() & two.keys():
        if not eligible(key, one[key], two[key]):
            continue
        diff = two[key].float() - one[key].float()
        if diff.abs().max() < min_diff:
            continue
        up, down, got = decompose(diff, rank, clamp=1.0)
        stem = key[: -len(".weight")]
        if diff.dim() == 4:
            up = up[:, :, None, None]
            down = down.reshape(got, *diff.shape[1:])
        out[f"{stem}.lora_up.weight"] = up.contiguous()
        out[f"{stem}.lora_down.weight"] = down.contiguous()
        out[f"{stem}.alpha"] = torch.tensor(float(got))
    save_file(out, output)
    click.echo(f"{len(out) // 3} modules")


if __name__ == "__main__":
    main()
