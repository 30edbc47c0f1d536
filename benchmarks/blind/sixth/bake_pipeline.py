# silent: the weights come from set_adapters alone, fuse_lora keeps its default scale of 1
"""Bake a list of adapters into a diffusers pipeline and save it."""
from pathlib import Path

import click
import torch
from diffusers import AutoPipelineForText2Image


class Item(click.ParamType):
    name = "path[:weight]"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        path, _, weight = value.rpartition(":")
        if not path:
            path, weight = weight, "1.0"
        if not Path(path).is_file():
            self.fail(f"{path} does not exist", param, ctx)
        return Path(path), float(weight)


def attach(pipe, items):
    names, weights = [], []
    for i, (path, weight) in enumerate(items):
        name = f"a{i}_{path.stem}".replace(".", "_")
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)
        names.append(name)
        weights.append(weight)
    pipe.set_adapters(names, adapter_weights=weights)
    return names


def bake(pipe, items):
    names = attach(pipe, items)
    pipe.fuse_lora(adapter_names=names)
    pipe.unload_lora_weights()
    return pipe


@click.command()
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("-a", "--adapter", "items", type=Item(), multiple=True, required=True)
@click.option("--prompt", help="render one image with the result")
@click.option("--half/--full", default=True)
def main(model, out, items, prompt, half):
    dtype = torch.float16 if half else torch.float32
    pipe = AutoPipelineForText2Image.from_pretrained(model, torch_dtype=dtype)
    bake(pipe, items)
    pipe.save_pretrained(out)
    if prompt:
        pipe.to("cuda" if torch.cuda.is_available() else "cpu")
        pipe(prompt, generator=torch.manual_seed(0)).images[0].save(out / "sample.png")


if __name__ == "__main__":
    main()
