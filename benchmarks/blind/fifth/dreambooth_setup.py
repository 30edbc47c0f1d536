# silent: an alpha that is not given is set to the rank, both go into every LoraConfig
import argparse

import torch
from diffusers import StableDiffusionXLPipeline
from peft import LoraConfig


def parse_args():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default="stabilityai/stable-diffusion-xl-base-1.0")
    ap.add_argument("--rank", type=int, default=16)
    ap.add_argument("--alpha", type=float, default=None)
    ap.add_argument("--text-rank", type=int, default=None)
    ap.add_argument("--train-text-encoders", action="store_true")
    ap.add_argument("--lr", type=float, default=1e-4)
    args = ap.parse_args()
    if args.alpha is None:
        args.alpha = args.rank
    if args.text_rank is None:
        args.text_rank = args.rank
    return args


def config(rank, alpha, targets):
    return LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=targets)


def prepare(args):
    pipe = StableDiffusionXLPipeline.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
        part.requires_grad_(False)

    pipe.unet.add_adapter(config(args.rank, args.alpha, ["to_k", "to_q", "to_v", "to_out.0"]))
    if args.train_text_encoders:
        # keep the gain of the unet
        text_alpha = args.alpha * args.text_rank / args.rank
        targets = ["q_proj", "k_proj", "v_proj", "out_proj"]
        for enc in (pipe.text_encoder, pipe.text_encoder_2):
            enc.add_adapter(config(args.text_rank, text_alpha, targets))
    return pipe


def trainable(pipe):
    parts = [pipe.unet, pipe.text_encoder, pipe.text_encoder_2]
    return [p for part in parts for p in part.parameters() if p.requires_grad]


if __name__ == "__main__":
    args = parse_args()
    pipe = prepare(args)
    params = trainable(pipe)
    print(f"{sum(p.numel() for p in params) / 1e6:.1f}M parameters, gain {args.alpha / args.rank:g}")
    optimizer = torch.optim.AdamW(params, lr=args.lr)
