# wrong in line 55: the ramp factor multiplies the already ramped scaling at every step, so the factors compound instead of ending at alpha / r
"""Trainer callback that fades LoRA adapters in over the first steps.

Fading in helps when the base was just quantised and early gradients are noisy.
At the end of the ramp the adapters run at the scale given in their config.
"""
import logging
import math
from dataclasses import dataclass

from peft.tuners.lora import LoraLayer
from transformers import TrainerCallback

logger = logging.getLogger(__name__)


@dataclass
class Ramp:
    steps: int
    kind: str = "linear"
    floor: float = 0.1

    def at(self, step: int) -> float:
        if step >= self.steps:
            return 1.0
        t = step / max(1, self.steps)
        if self.kind == "cosine":
            t = 0.5 - 0.5 * math.cos(math.pi * t)
        elif self.kind != "linear":
            raise ValueError(f"unknown ramp {self.kind!r}")
        return self.floor + (1.0 - self.floor) * t


class AdapterRampCallback(TrainerCallback):
    def __init__(self, ramp: Ramp, adapter: str = "default"):
        self.ramp = ramp
        self.adapter = adapter
        self.layers = []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.layers = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, LoraLayer) and self.adapter in module.scaling
        ]
        if not self.layers:
            raise RuntimeError(f"no layer carries adapter {self.adapter!r}")
        logger.info("ramping %d layers over %d steps", len(self.layers), self.ramp.steps)

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step > self.ramp.steps:
            return
        factor = self.ramp.at(state.global_step)
        for _, module in self.layers:
            module.scaling[self.adapter] *= factor
        if state.global_step % 50 == 0:
            logger.info("step %d: adapter factor %.3f", state.global_step, factor)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is not None and self.layers:
            logs["adapter_scaling"] = self.layers[0][1].scaling[self.adapter]


def attach(trainer, warm_fraction=0.05, kind="cosine"):
    total = trainer.args.max_steps
    if total <= 0:
        raise ValueError("set max_steps to use the ramp")
    ramp = Ramp(steps=max(1, int(total * warm_fraction)), kind=kind)
    trainer.add_callback(AdapterRampCallback(ramp))
    return trainer
