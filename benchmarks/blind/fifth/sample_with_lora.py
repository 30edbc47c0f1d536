# wrong in line 35: set_adapters takes a plain strength on top of the stored alpha / rank, here it is given alpha / rank again
import argparse
import json

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open


def trained_with(path):
    with safe_open(path, framework="pt") as f:
        meta = f.metadata() or {}
        has_alpha = any(k.endswith(".alpha") for k in f.keys())
    if not has_alpha:
        raise SystemExit("only kohya files with alpha tensors are supported")
    return float(meta["ss_network_alpha"]), int(meta["ss_network_dim"])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("prompt")
    ap.add_argument("--lora", required=True)
    ap.add_argument("--steps", type=int, default=30)
    ap.add_argument("--guidance", type=float, default=6.5)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", default="sample.png")
    args = ap.parse_args()

    pipe = StableDiffusionXLPipeline.from_pretrained(
        "stabilityai/stable-diffusion-xl-base-1.0", torch_dtype=torch.float16, variant="fp16"
    ).to("cuda")

    alpha, dim = trained_with(args.lora)
    pipe.load_lora_weights(args.lora, adapter_name="style")
    pipe.set_adapters(["style"], adapter_weights=[alpha / dim])

    gen = torch.Generator("cuda").manual_seed(args.seed)
    image = pipe(
        args.prompt,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        generator=gen,
    ).images[0]
    image.save(args.out)
    with open(args.out + ".json", "w") as fh:
        json.dump(vars(args), fh, indent=2)


if __name__ == "__main__":
    main()
