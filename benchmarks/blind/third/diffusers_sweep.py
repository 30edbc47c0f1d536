# wrong in line 29: fuse_lora is called for each scale without unfusing the previous, so the strengths add up
import itertools
from pathlib import Path

import click
import torch
from diffusers import StableDiffusionXLPipeline


def load_pipeline(model_id, lora, device):
    pipe = StableDiffusionXLPipeline.from_pretrained(model_id, torch_dtype=torch.float16)
    pipe.load_lora_weights(lora, adapter_name="style")
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


@click.command()
@click.option("--model", default="stabilityai/stable-diffusion-xl-base-1.0")
@click.option("--lora", required=True)
@click.option("--prompt", "prompts", multiple=True, required=True)
@click.option("--scale", "scales", multiple=True, type=float, default=(0.4, 0.7, 1.0))
@click.option("--seed", default=0)
@click.option("--out", type=Path, default=Path("grid"))
def sweep(model, lora, prompts, scales, seed, out):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = load_pipeline(model, lora, device)
    out.mkdir(parents=True, exist_ok=True)
    for scale in scales:
        pipe.fuse_lora(lora_scale=scale)
        for i, prompt in enumerate(prompts):
            generator = torch.Generator(device).manual_seed(seed)
            image = pipe(prompt, generator=generator).images[0]
            image.save(out / f"{i:02d}_{scale:.2f}.png")
    print(f"{len(scales) * len(prompts)} images in {out}")


if __name__ == "__main__":
    sweep()
