# wrong in line 27: the loader reads the alphas of this kohya file, so the trained strength is weight 1.0; alpha / rank as weight applies it once more
"""Render a prompt list with a kohya-trained style on SDXL."""
import argparse
import json
import os

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open


def network_settings(path):
    """(rank, alpha) from the first module of a kohya file."""
    with safe_open(path, framework="pt") as f:
        for key in f.keys():
            if key.endswith(".lora_down.weight"):
                rank = f.get_slice(key).get_shape()[0]
                alpha = f.get_tensor(key.replace(".lora_down.weight", ".alpha")).item()
                return rank, alpha
    raise ValueError(f"{path} has no low-rank modules")


def make_pipeline(args):
    pipe = StableDiffusionXLPipeline.from_pretrained(args.base, torch_dtype=torch.float16)
    pipe.load_lora_weights(args.style, adapter_name="style")
    rank, alpha = network_settings(args.style)
    pipe.set_adapters(["style"], adapter_weights=[args.strength * alpha / rank])
    return pipe.to(args.device)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", default="stabilityai/stable-diffusion-xl-base-1.0")
    ap.add_argument("--style", required=True, help="kohya safetensors file with .alpha tensors")
    ap.add_argument("--strength", type=float, default=1.0, help="1.0: as trained")
    ap.add_argument("--prompts", required=True)
    ap.add_argument("--out", default="images")
    ap.add_argument("--device", default="cuda")
    args = ap.parse_args()
    pipe = make_pipeline(args)
    os.makedirs(args.out, exist_ok=True)
    with open(args.prompts) as fh:
        prompts = json.load(fh)
    for i, prompt in enumerate(prompts):
        generator = torch.Generator(args.device).manual_seed(i)
        pipe(prompt, generator=generator).images[0].save(os.path.join(args.out, f"{i:04d}.png"))


if __name__ == "__main__":
    main()
