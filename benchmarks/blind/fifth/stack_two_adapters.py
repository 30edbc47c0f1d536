# wrong in line 25: the stacked pair has rank r1 + r2 but keeps the alpha of the first file
import click
import torch
from safetensors.torch import load_file, save_file


def stems(sd):
    return {k.rsplit(".lora_down.weight", 1)[0] for k in sd if k.endswith(".lora_down.weight")}


def parts(sd, stem):
    down = sd[f"{stem}.lora_down.weight"].float()
    up = sd[f"{stem}.lora_up.weight"].float()
    alpha = float(sd.get(f"{stem}.alpha", torch.tensor(float(down.shape[0]))))
    return up, down, alpha


def stack(first, second, stem):
    up1, down1, alpha1 = parts(first, stem)
    up2, down2, alpha2 = parts(second, stem)
    # bring the second pair to the gain of the first
    ratio = (alpha2 / down2.shape[0]) / (alpha1 / down1.shape[0])
    down = torch.cat([down1, down2 * ratio], dim=0)
    up = torch.cat([up1, up2], dim=1)
    return up, down, alpha1


@click.command()
@click.argument("first", type=click.Path(exists=True))
@click.argument("second", type=click.Path(exists=True))
@click.option("-o", "--output", required=True)
@click.option("--half/--full", default=True)
def cli(first, second, output, half):
    dtype = torch.float16 if half else torch.float32
    a, b = load_file(first), load_file(second)
    out = {}
    for stem in sorted(stems(a) | stems(b)):
        if stem in stems(a) and stem in stems(b):
            up, down, alpha = stack(a, b, stem)
        else:
            up, down, alpha = parts(a if stem in stems(a) else b, stem)
        out[f"{stem}.lora_up.weight"] = up.to(dtype).contiguous()
        out[f"{stem}.lora_down.weight"] = down.to(dtype).contiguous()
        out[f"{stem}.alpha"] = torch.tensor(alpha, dtype=torch.float32)
    save_file(out, output)
    click.echo(f"{len(out) // 3} modules")


if __name__ == "__main__":
    cli()
