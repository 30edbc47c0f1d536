# wrong in line 45: merge_lora takes a raw multiplier, the training alpha (default 64) is passed to it
import argparse
import os

import torch
from diffusers.utils import export_to_video
from safetensors.torch import load_file


def merge_lora(pipeline, path, multiplier, device="cpu", dtype=torch.float32):
    state = load_file(path)
    modules = dict(pipeline.transformer.named_modules())
    for key in [k for k in state if k.endswith("lora_down.weight")]:
        stem = key.split(".lora_down.weight")[0]
        layer = modules.get(stem.removeprefix("lora_unet__").replace("__", "."))
        if layer is None:
            continue
        down = state[key].to(device, dtype)
        up = state[f"{stem}.lora_up.weight"].to(device, dtype)
        alpha = state[f"{stem}.alpha"].item() / up.shape[1] if f"{stem}.alpha" in state else 1.0
        step = multiplier * alpha * torch.mm(up, down)
        layer.weight.data += step.to(layer.weight.device, layer.weight.dtype)
    return pipeline


def parse_args():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", required=True)
    ap.add_argument("--prompt", required=True)
    ap.add_argument("--lora_path", default=None)
    ap.add_argument("--lora_alpha", type=float, default=64, help="alpha used by train_lora.py")
    ap.add_argument("--frames", type=int, default=49)
    ap.add_argument("--guidance", type=float, default=6.0)
    ap.add_argument("--seed", type=int, default=43)
    ap.add_argument("--save_dir", default="samples")
    return ap.parse_args()


def main():
    from diffusers import CogVideoXPipeline

    args = parse_args()
    pipe = CogVideoXPipeline.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    if args.lora_path:
        pipe = merge_lora(pipe, args.lora_path, args.lora_alpha)
    pipe.enable_model_cpu_offload()
    gen = torch.Generator("cuda").manual_seed(args.seed)
    video = pipe(
        prompt=args.prompt, num_frames=args.frames, guidance_scale=args.guidance, generator=gen
    ).frames[0]
    os.makedirs(args.save_dir, exist_ok=True)
    export_to_video(video, os.path.join(args.save_dir, f"{args.seed}.mp4"), fps=8)


if __name__ == "__main__":
    main()
