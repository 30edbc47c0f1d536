# silent: alpha of this load_lora is a raw multiplier on top of the gain in the file, 1.0 is the neutral value
import csv
from pathlib import Path

import torch
import tyro
from dataclasses import dataclass
from diffsynth import save_video
from diffsynth.pipelines.wan_video_new import ModelConfig, WanVideoPipeline


@dataclass
class Options:
    jobs: Path
    """CSV with columns prompt, seed, lora, lora_alpha"""
    out: Path = Path("renders")
    model_id: str = "Wan-AI/Wan2.1-T2V-1.3B"
    steps: int = 40
    frames: int = 81


def pipeline(model_id):
    configs = [
        ModelConfig(model_id=model_id, origin_file_pattern="diffusion_pytorch_model*.safetensors"),
        ModelConfig(model_id=model_id, origin_file_pattern="models_t5_umt5-xxl-enc-bf16.pth"),
        ModelConfig(model_id=model_id, origin_file_pattern="Wan2.1_VAE.pth"),
    ]
    return WanVideoPipeline.from_pretrained(torch_dtype=torch.bfloat16, device="cuda", model_configs=configs)


def read_jobs(path):
    with path.open(newline="") as fh:
        for row in csv.DictReader(fh):
            lora_alpha = float(row["lora_alpha"] or 1.0) if row["lora"] else None
            if lora_alpha is not None and not 0 < lora_alpha <= 2:
                raise ValueError(f"lora_alpha is a strength between 0 and 2, got {lora_alpha}")
            yield row["prompt"], int(row["seed"]), row["lora"] or None, lora_alpha


def main(opt: Options):
    opt.out.mkdir(parents=True, exist_ok=True)
    previous, pipe = object(), None
    for i, (prompt, seed, lora, lora_alpha) in enumerate(read_jobs(opt.jobs)):
        wanted = (lora, lora_alpha)
        if wanted != previous:
            # weights are changed in place, start from clean ones
            pipe = pipeline(opt.model_id)
            if lora is not None:
                pipe.load_lora(pipe.dit, lora, alpha=lora_alpha)
            pipe.enable_vram_management()
            previous = wanted
        video = pipe(prompt=prompt, seed=seed, num_inference_steps=opt.steps, num_frames=opt.frames, tiled=True)
        save_video(video, str(opt.out / f"{i:04d}.mp4"), fps=15, quality=5)


if __name__ == "__main__":
    main(tyro.cli(Options))
