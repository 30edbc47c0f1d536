# wrong in lines 34 and 40: the weight goes to set_adapters and also to cross_attention_kwargs["scale"], the output sees its square
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Iterator

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline


@dataclass(frozen=True)
class Shot:
    prompt: str
    weight: float
    seed: int

    @property
    def filename(self):
        return f"w{self.weight:.2f}_s{self.seed}_{abs(hash(self.prompt)) % 10_000:04d}.png"


class Sweeper:
    def __init__(self, base: str, adapter: Path, device: str = "cuda"):
        self.device = device
        self.pipe = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float16).to(device)
        self.pipe.scheduler = DPMSolverMultistepScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.load_lora_weights(str(adapter.parent), weight_name=adapter.name, adapter_name="subject")

    def shots(self, prompts, weights, seeds) -> Iterator[Shot]:
        for prompt, weight, seed in product(prompts, weights, seeds):
            yield Shot(prompt, weight, seed)

    def render(self, shot: Shot):
        self.pipe.set_adapters("subject", adapter_weights=shot.weight)
        return self.pipe(
            shot.prompt,
            num_inference_steps=25,
            guidance_scale=6.5,
            generator=torch.Generator(self.device).manual_seed(shot.seed),
            cross_attention_kwargs={"scale": shot.weight},
        ).images[0]

    def run(self, out: Path, *axes):
        out.mkdir(parents=True, exist_ok=True)
        for shot in self.shots(*axes):
            target = out / shot.filename
            if not target.exists():
                self.render(shot).save(target)


if __name__ == "__main__":
    Sweeper("runwayml/stable-diffusion-v1-5", Path("subject.safetensors")).run(
        Path("sweep"), ["a photo of sks dog", "sks dog in snow"], [0.4, 0.7, 1.0], [1, 2]
    )
