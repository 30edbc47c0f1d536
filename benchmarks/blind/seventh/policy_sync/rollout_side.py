# wrong in line 22: trainer_side.py sends lora_B with the scaling in it, the worker multiplies by lora_alpha / r again
"""Rollout worker: receives LoRA weights and uses them for generation."""
import io
import logging

import torch

log = logging.getLogger("rollout")


class RolloutWorker:
    def __init__(self, model):
        self.model = model
        self.version = 0
        self.handles = []

    def receive(self, payload):
        message = torch.load(io.BytesIO(payload))
        if message["version"] <= self.version:
            return False
        config, tensors = message["config"], message["tensors"]
        scaling = config["lora_alpha"] / config["r"]
        for h in self.handles:
            h.remove()
        self.handles = []
        for key, a in tensors.items():
            if key.endswith(".lora_A"):
                name = key[: -len(".lora_A")]
                self._attach(name, a.float(), tensors[f"{name}.lora_B"].float(), scaling)
        self.version = message["version"]
        log.info("weights version %d, %d layers", self.version, len(self.handles))
        return True

    def _attach(self, name, a, b, scaling):
        def hook(module, args, out):
            return out + scaling * (args[0] @ a.T @ b.T)

        self.handles.append(self.model.get_submodule(name).register_forward_hook(hook))

    @torch.inference_mode()
    def generate(self, x):
        return self.model(x)
