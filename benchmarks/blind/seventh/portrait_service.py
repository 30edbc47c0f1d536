# wrong in line 29: set_adapters has the strength already and the call's scale multiplies on top of it, a strength of 0.5 acts as 0.25
"""HTTP service that renders portraits with one of several LoRAs."""
import base64
import io
import logging

import torch
from diffusers import StableDiffusionPipeline
from flask import Flask, jsonify, request

app = Flask(__name__)
log = logging.getLogger("portrait")


class Renderer:
    def __init__(self, base, adapters):
        self.pipe = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float16)
        for name, path in adapters.items():
            self.pipe.load_lora_weights(path, adapter_name=name)
        self.pipe.to("cuda")

    def render(self, prompt, adapter, strength, steps=30, seed=0):
        self.pipe.set_adapters([adapter], adapter_weights=[strength])
        generator = torch.Generator("cuda").manual_seed(seed)
        result = self.pipe(
            prompt,
            num_inference_steps=steps,
            generator=generator,
            cross_attention_kwargs={"scale": strength},
        )
        return result.images[0]


def encode(image):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@app.post("/render")
def render():
    body = request.get_json()
    strength = float(body.get("strength", 1.0))
    log.info("render %s at %.2f", body["adapter"], strength)
    image = app.config["renderer"].render(body["prompt"], body["adapter"], strength, seed=int(body.get("seed", 0)))
    return jsonify(image=encode(image))


def create_app(base, adapters):
    app.config["renderer"] = Renderer(base, adapters)
    return app
