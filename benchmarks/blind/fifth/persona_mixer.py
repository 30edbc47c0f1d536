# wrong in line 40: the PEFT scaling (alpha / r) is overwritten by the persona weight instead of being multiplied
import contextlib
import logging

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

log = logging.getLogger("persona")


class PersonaMixer:
    def __init__(self, base_id, personas):
        self.tok = AutoTokenizer.from_pretrained(base_id)
        base = AutoModelForCausalLM.from_pretrained(base_id, torch_dtype="auto", device_map="auto")
        items = iter(personas.items())
        name, path = next(items)
        self.model = PeftModel.from_pretrained(base, path, adapter_name=name)
        for name, path in items:
            self.model.load_adapter(path, adapter_name=name)
        self.model.eval()
        self.names = list(personas)

    def _layers(self):
        for mod in self.model.modules():
            if hasattr(mod, "scaling") and hasattr(mod, "lora_A"):
                yield mod

    @contextlib.contextmanager
    def mixed(self, weights):
        unknown = set(weights) - set(self.names)
        if unknown:
            raise KeyError(f"unknown personas: {sorted(unknown)}")
        self.model.base_model.set_adapter(list(weights))
        remembered = []
        for layer in self._layers():
            remembered.append((layer, dict(layer.scaling)))
            for name, w in weights.items():
                if name in layer.scaling:
                    layer.scaling[name] = w
        log.info("mix %s over %d layers", weights, len(remembered))
        try:
            yield
        finally:
            for layer, scaling in remembered:
                layer.scaling.update(scaling)

    @torch.inference_mode()
    def say(self, text, weights, max_new_tokens=200):
        batch = self.tok(text, return_tensors="pt").to(self.model.device)
        streamer = TextIteratorStreamer(self.tok, skip_prompt=True)
        with self.mixed(weights):
            self.model.generate(**batch, streamer=streamer, max_new_tokens=max_new_tokens)
        return "".join(streamer)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    mixer = PersonaMixer("mistralai/Mistral-7B-v0.1", {"pirate": "adapters/pirate", "bard": "adapters/bard"})
    print(mixer.say("Describe the sea.", {"pirate": 0.7, "bard": 0.3}))
