# wrong in line 23: fuse_lora() without lora_scale merges at 1.0, and the scale passed at call time has no effect on fused layers
"""Render a prompt file with an SDXL LoRA.

    python batch_images.py prompts.txt --lora style.safetensors --lora_scale 0.6
"""
import argparse
import hashlib
import logging
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline

log = logging.getLogger("batch_images")


def build_pipeline(args):
    pipe = StableDiffusionXLPipeline.from_pretrained(args.base, torch_dtype=torch.float16, variant="fp16")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    if args.lora:
        path = Path(args.lora)
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="style")
        pipe.fuse_lora()
    pipe.to(args.device)
    if args.compile:
        pipe.unet = torch.compile(pipe.unet, mode="reduce-overhead")
    return pipe


def prompts(path):
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield line


def file_name(prompt, seed, args):
    what = f"{prompt}|{args.lora}|{args.lora_scale}|{args.steps}|{args.guidance}"
    digest = hashlib.sha1(what.encode()).hexdigest()[:10]
    return f"{digest}_{seed}.png"


def render(pipe, prompt, seed, args):
    generator = torch.Generator(args.device).manual_seed(seed)
    extra = {}
    if args.lora:
        extra["cross_attention_kwargs"] = {"scale": args.lora_scale}
    return pipe(
        prompt,
        negative_prompt=args.negative,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        generator=generator,
        **extra,
    ).images[0]


def main():
    logging.basicConfig(level=logging.INFO)
    p = argparse.ArgumentParser()
    p.add_argument("prompts")
    p.add_argument("--base", default="stabilityai/stable-diffusion-xl-base-1.0")
    p.add_argument("--lora")
    p.add_argument("--lora_scale", type=float, default=0.8)
    p.add_argument("--negative", default="")
    p.add_argument("--steps", type=int, default=28)
    p.add_argument("--guidance", type=float, default=6.0)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--out", type=Path, default=Path("images"))
    p.add_argument("--device", default="cuda")
    p.add_argument("--compile", action="store_true")
    args = p.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    pipe = build_pipeline(args)
    for prompt in prompts(args.prompts):
        for seed in args.seeds:
            target = args.out / file_name(prompt, seed, args)
            if target.exists():
                continue
            render(pipe, prompt, seed, args).save(target)
            log.info("%s  %s", target.name, prompt[:60])


if __name__ == "__main__":
    main()
