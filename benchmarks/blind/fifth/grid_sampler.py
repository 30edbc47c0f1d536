# wrong in lines 42 and 51: the "scale" of cross_attention_kwargs multiplies the loaded alpha / rank, it is given network_alpha / network_dim once more
import argparse
import itertools
import math

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open


def trained_values(path):
    with safe_open(path, framework="pt") as f:
        meta = f.metadata() or {}
    return float(meta.get("ss_network_alpha", "nan")), float(meta.get("ss_network_dim", "nan"))


def grid(images, columns):
    w, h = images[0].size
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * w, rows * h))
    for i, image in enumerate(images):
        sheet.paste(image, ((i % columns) * w, (i // columns) * h))
    return sheet


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("lora", help="file of sd-scripts, with alpha tensors")
    ap.add_argument("--prompts", nargs="+", required=True)
    ap.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    ap.add_argument("--out", default="grid.png")
    args = ap.parse_args()

    pipe = StableDiffusionPipeline.from_pretrained(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", torch_dtype=torch.float16, safety_checker=None
    ).to("cuda")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.load_lora_weights(args.lora)

    network_alpha, network_dim = trained_values(args.lora)
    strength = network_alpha / network_dim
    if math.isnan(strength):
        strength = 1.0
    images = []
    for prompt, seed in itertools.product(args.prompts, args.seeds):
        image = pipe(
            prompt,
            num_inference_steps=24,
            generator=torch.Generator("cuda").manual_seed(seed),
            cross_attention_kwargs={"scale": strength},
        ).images[0]
        images.append(image)
    grid(images, len(args.seeds)).save(args.out)
    print(f"{len(images)} images, strength {strength:.3f}")


if __name__ == "__main__":
    main()
