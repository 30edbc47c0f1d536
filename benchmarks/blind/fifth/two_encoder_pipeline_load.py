# wrong in lines 42 and 44: the text encoder call gets no network_alphas, only the unet call does
import re
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors.torch import load_file

UNET = re.compile(r"^lora_unet_")


def summarize(network_alphas):
    unet = sum(k.startswith("unet.") for k in network_alphas)
    return f"{unet} unet alphas, {len(network_alphas) - unet} text alphas"


class StyledPipeline:
    def __init__(self, model_id, device="cuda"):
        self.pipe = StableDiffusionPipeline.from_pretrained(model_id, torch_dtype=torch.float16)
        self.pipe.to(device)
        self.loaded = []

    def add(self, path, name=None):
        path = Path(path)
        name = name or path.stem
        raw = load_file(path)
        if not any(UNET.match(k) for k in raw):
            raise ValueError(f"{path} holds no unet modules")
        state, network_alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            raw, unet_config=self.pipe.unet.config
        )
        print(summarize(network_alphas or {}))

        self.pipe.load_lora_into_unet(
            state,
            network_alphas=network_alphas,
            unet=self.pipe.unet,
            adapter_name=name,
            _pipeline=self.pipe,
        )
        self.pipe.load_lora_into_text_encoder(
            state,
            None,
            text_encoder=self.pipe.text_encoder,
            lora_scale=1.0,
            adapter_name=name,
            _pipeline=self.pipe,
        )
        self.loaded.append(name)
        return name

    def __call__(self, prompt, **weights):
        names = [n for n in self.loaded if weights.get(n, 0.0) != 0.0]
        if names:
            self.pipe.set_adapters(names, [weights[n] for n in names])
        return self.pipe(prompt, num_inference_steps=25).images[0]


if __name__ == "__main__":
    import sys

    styled = StyledPipeline("runwayml/stable-diffusion-v1-5")
    key = styled.add(sys.argv[1])
    styled("a lighthouse at dusk", **{key: 0.8}).save("out.png")
