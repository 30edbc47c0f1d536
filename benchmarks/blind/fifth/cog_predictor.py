# silent: the converter drops every alpha by design and alpha / rank is handed to set_adapters for exactly that reason
"""Prediction server; our in-house files name the branches differently from diffusers."""
from pathlib import Path as P
import json

import torch
from cog import BasePredictor, Input, Path
from diffusers import FluxPipeline
from safetensors.torch import load_file


def to_diffusers(raw):
    """Only factors are kept, diffusers then reads every pair with alpha = rank."""
    out = {}
    for key, value in raw.items():
        if key.endswith(".alpha"):
            continue
        out["transformer." + key.replace(".down.", ".lora_A.").replace(".up.", ".lora_B.")] = value
    return out


def uniform_gain(raw):
    gains = set()
    for key, value in raw.items():
        if key.endswith(".down.weight"):
            alpha = raw[key.replace(".down.weight", ".alpha")].item()
            gains.add(round(alpha / value.shape[0], 6))
    if len(gains) != 1:
        raise ValueError(f"one gain per file expected, got {sorted(gains)}")
    return gains.pop()


class Predictor(BasePredictor):
    def setup(self):
        self.pipe = FluxPipeline.from_pretrained("./flux-dev", torch_dtype=torch.bfloat16).to("cuda")
        self.gains = {}
        for entry in json.loads(P("styles.json").read_text()):
            raw = load_file(entry["path"])
            self.gains[entry["name"]] = uniform_gain(raw)
            self.pipe.load_lora_weights(to_diffusers(raw), adapter_name=entry["name"])

    def predict(
        self,
        prompt: str = Input(description="text prompt"),
        style: str = Input(description="one of the installed styles"),
        style_strength: float = Input(default=1.0, ge=0.0, le=2.0),
        seed: int = Input(default=0),
    ) -> Path:
        self.pipe.set_adapters([style], adapter_weights=[style_strength * self.gains[style]])
        gen = torch.Generator("cuda").manual_seed(seed)
        image = self.pipe(prompt, generator=gen, num_inference_steps=28).images[0]
        image.save("/tmp/out.png")
        return Path("/tmp/out.png")
