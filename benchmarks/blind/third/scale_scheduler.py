# wrong in line 28: the running scaling is multiplied by each step's weight, so the weights compound over the steps
import math

from peft.tuners.lora import LoraLayer


def cosine_weight(step, total, start, end):
    t = step / max(total - 1, 1)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * t))


class LoraScaleScheduler:
    """Pipeline callback that fades an adapter out over the denoising steps."""

    def __init__(self, unet, adapter, total_steps, start=1.0, end=0.2):
        self.adapter = adapter
        self.total_steps = total_steps
        self.start = start
        self.end = end
        self.layers = [
            m for m in unet.modules()
            if isinstance(m, LoraLayer) and adapter in m.scaling
        ]
        self.initial = [m.scaling[adapter] for m in self.layers]

    def set_weight(self, weight):
        for layer in self.layers:
            layer.scaling[self.adapter] *= weight

    def __call__(self, pipe, step, timestep, callback_kwargs):
        self.set_weight(cosine_weight(step, self.total_steps, self.start, self.end))
        return callback_kwargs

    def reset(self):
        for layer, value in zip(self.layers, self.initial):
            layer.scaling[self.adapter] = value


def run(pipe, prompt, adapter, steps=30):
    scheduler = LoraScaleScheduler(pipe.unet, adapter, steps)
    try:
        return pipe(prompt, num_inference_steps=steps, callback_on_step_end=scheduler).images
    finally:
        scheduler.reset()
