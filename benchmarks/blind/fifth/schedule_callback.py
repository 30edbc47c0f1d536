# silent: each step sets the scale from the untouched base value, nothing accumulates over the steps
import math

from peft.tuners.lora import LoraLayer
from transformers import TrainerCallback


class StrengthWarmup(TrainerCallback):
    """Raises the influence of the adapter from 0 to its trained gain."""

    def __init__(self, adapter="default", warmup=500, shape="cosine"):
        if shape not in ("linear", "cosine"):
            raise ValueError(shape)
        self.adapter = adapter
        self.warmup = warmup
        self.shape = shape
        self.base = {}

    def factor(self, step):
        t = min(1.0, step / max(1, self.warmup))
        return t if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * t)

    def layers(self, model):
        for name, mod in model.named_modules():
            if isinstance(mod, LoraLayer) and self.adapter in mod.scaling:
                yield name, mod

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.base = {name: mod.scaling[self.adapter] for name, mod in self.layers(model)}

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        f = self.factor(state.global_step + 1)
        for name, mod in self.layers(model):
            mod.scaling[self.adapter] = self.base[name] * f

    def on_evaluate(self, args, state, control, model=None, metrics=None, **kwargs):
        if metrics is not None:
            metrics["adapter_factor"] = self.factor(state.global_step)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        for name, mod in self.layers(model):
            mod.scaling[self.adapter] = self.base[name]
        self.base.clear()


def with_warmup(trainer, ratio=0.05, **kwargs):
    total = trainer.args.max_steps
    if total <= 0:
        raise ValueError("set max_steps to use the warmup")
    trainer.add_callback(StrengthWarmup(warmup=int(total * ratio), **kwargs))
    return trainer
