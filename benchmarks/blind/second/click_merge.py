# wrong in line 30: the weight goes on both factors, so the delta gets weight squared
import click
import torch
from safetensors.torch import load_file, save_file


def pairs(sd):
    for key in sd:
        if key.endswith(".lora_down.weight"):
            stem = key[: -len(".lora_down.weight")]
            yield stem, sd[key].float(), sd[stem + ".lora_up.weight"].float(), sd.get(stem + ".alpha")


@click.command()
@click.option("--base", required=True)
@click.option("--lora", "lora_file", required=True)
@click.option("--weight", default=1.0, show_default=True, type=float)
@click.option("--out", required=True)
def main(base, lora_file, weight, out):
    model = load_file(base)
    done = 0
    for stem, down, up, alpha in pairs(load_file(lora_file)):
        target = stem.replace("lora_unet_", "").replace("__", ".") + ".weight"
        if target not in model:
            click.echo(f"skip {stem}")
            continue
        r = down.shape[0]
        s = (alpha.item() if alpha is not None else r) / r
        down = down * weight
        up = up * weight
        w = model[target]
        model[target] = (w.float() + s * torch.mm(up, down)).to(w.dtype)
        done += 1
    save_file(model, out)
    click.echo(f"{done} weights changed")


if __name__ == "__main__":
    main()
