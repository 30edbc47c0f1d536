# wrong in line 8: unload without unfuse / saves the base
from diffusers import FluxPipeline
import torch

pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev")
pipe.load_lora_weights("adapter")
pipe.set_adapters(["default"], adapter_weights=[0.8])
pipe.unload_lora_weights()
pipe.save_pretrained("merged")
