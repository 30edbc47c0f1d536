# wrong in lines 23 and 24: set_adapters already gives the weights, fuse_lora(lora_scale=strength) multiplies each of them again
import argparse
import pathlib

import torch
from diffusers import StableDiffusionXLPipeline


def parse_style(text):
    path, _, weight = text.partition("@")
    return pathlib.Path(path), float(weight or 1.0)


def open_pipeline(model_id, device):
    dtype = torch.float16 if device == "cuda" else torch.float32
    pipe = StableDiffusionXLPipeline.from_pretrained(model_id, torch_dtype=dtype)
    return pipe.to(device)


def fuse_style(pipe, path, strength):
    name = path.stem.replace(".", "_")
    pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)
    pipe.set_adapters([name], adapter_weights=[strength])
    pipe.fuse_lora(lora_scale=strength, adapter_names=[name])
    pipe.unload_lora_weights()


def main():
    ap = argparse.ArgumentParser(description="fuse one style and render a test sheet")
    ap.add_argument("model")
    ap.add_argument("style", type=parse_style, help="file.safetensors@0.8")
    ap.add_argument("--prompt", action="append", required=True)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", type=pathlib.Path, default=pathlib.Path("sheet"))
    ap.add_argument("--save-model", type=pathlib.Path)
    ns = ap.parse_args()

    pipe = open_pipeline(ns.model, ns.device)
    path, strength = ns.style
    fuse_style(pipe, path, strength)

    ns.out.mkdir(parents=True, exist_ok=True)
    for i, prompt in enumerate(ns.prompt):
        gen = torch.Generator(ns.device).manual_seed(ns.seed)
        image = pipe(prompt, generator=gen, num_inference_steps=28).images[0]
        image.save(ns.out / f"{i:03d}.png")
    if ns.save_model:
        pipe.save_pretrained(ns.save_model)


if __name__ == "__main__":
    main()
