# silent: the training script saved A and B only, with neither alphas nor metadata, so the loader uses scale 1 and alpha / rank has to be given as the weight
"""Sample clips with an adapter from `train_video_lora.py`.

That script writes lora_A / lora_B tensors only (no alpha tensors, no metadata), and
`train_args.json` next to them holds rank and alpha.
"""
import json
import pathlib
import sys

import torch
from safetensors import safe_open


def trained_scale(folder):
    args = json.loads((folder / "train_args.json").read_text())
    return args["lora_alpha"] / args["rank"]


def check_file(path):
    with safe_open(path, framework="pt") as f:
        if any(k.endswith(".alpha") for k in f.keys()) or "lora_adapter_metadata" in (f.metadata() or {}):
            raise SystemExit(f"{path} carries its own scale, this script is for files without one")


def load_pipeline(model_id, folder, strength):
    from diffusers import CogVideoXPipeline

    folder = pathlib.Path(folder)
    weights = folder / "pytorch_lora_weights.safetensors"
    check_file(weights)
    pipe = CogVideoXPipeline.from_pretrained(model_id, torch_dtype=torch.bfloat16)
    pipe.load_lora_weights(str(folder), weight_name=weights.name, adapter_name="clip")
    pipe.set_adapters(["clip"], [strength * trained_scale(folder)])
    return pipe


def main(model_id, folder, prompt, strength="1.0"):
    from diffusers.utils import export_to_video

    pipe = load_pipeline(model_id, folder, float(strength)).to("cuda")
    frames = pipe(prompt, num_frames=49, guidance_scale=6.0).frames[0]
    export_to_video(frames, "clip.mp4", fps=8)


if __name__ == "__main__":
    main(*sys.argv[1:])
