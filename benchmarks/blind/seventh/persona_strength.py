# silent: set_scale multiplies alpha / r by the value given and starts from alpha / r every time
"""Per-request persona strength for a PEFT model."""
import contextlib

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer


class PersonaRouter:
    def __init__(self, model: PeftModel, presets: dict[str, float]):
        unknown = presets.keys() - model.peft_config.keys()
        if unknown:
            raise ValueError(f"no such adapter: {sorted(unknown)}")
        self.model = model
        self.presets = presets

    def _apply(self, name: str, strength: float) -> None:
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.set_scale(name, strength)

    @contextlib.contextmanager
    def persona(self, name: str, strength: float | None = None):
        preset = self.presets.get(name, 1.0)
        if strength is None:
            strength = preset
        previous = self.model.active_adapter
        self.model.set_adapter(name)
        self._apply(name, strength)
        try:
            yield self.model
        finally:
            self._apply(name, 1.0)
            self.model.set_adapter(previous)

    @torch.inference_mode()
    def run(self, batch, name=None, strength=None):
        if name is None:
            with self.model.disable_adapter():
                return self.model(batch)
        with self.persona(name, strength) as model:
            return model(batch)
