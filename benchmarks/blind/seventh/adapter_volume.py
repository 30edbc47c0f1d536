# wrong in line 30: scaling[name] holds alpha / r, assigning the volume replaces it; 1.0 no longer means the trained strength
"""Volume control for PEFT adapters in a running service."""
import logging
import threading
from typing import Dict

from peft import PeftModel
from peft.tuners.lora import LoraLayer

log = logging.getLogger(__name__)


class VolumeControl:
    """Volume 1.0 is the adapter as trained, 0.0 the base model."""

    def __init__(self, model: PeftModel):
        self.model = model
        self.lock = threading.Lock()
        self.volumes: Dict[str, float] = {name: 1.0 for name in model.peft_config}

    def _layers(self):
        return (m for m in self.model.modules() if isinstance(m, LoraLayer))

    def set(self, name: str, volume: float):
        if name not in self.volumes:
            raise KeyError(name)
        with self.lock:
            for layer in self._layers():
                if name in layer.scaling:
                    layer.scaling[name] = volume
            self.volumes[name] = volume
        log.info("%s at volume %.2f", name, volume)

    def describe(self):
        return ", ".join(f"{n}={v:g}" for n, v in sorted(self.volumes.items()))


class ChatService:
    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.control = VolumeControl(model)

    def reply(self, prompt, persona, volume=1.0, **kwargs):
        self.model.set_adapter(persona)
        self.control.set(persona, volume)
        ids = self.tokenizer(prompt, return_tensors="pt")
        out = self.model.generate(**ids, **kwargs)
        return self.tokenizer.decode(out[0], skip_special_tokens=True)
