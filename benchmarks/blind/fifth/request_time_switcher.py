# wrong in lines 35 and 39: the merged-weights cache is keyed by the adapter name only, a second request with another strength gets the old blend
import threading
from collections import OrderedDict

import torch
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Job(BaseModel):
    prompt: str
    adapter: str
    strength: float = 1.0


class Blender:
    def __init__(self, model, registry, capacity=4):
        self.model = model
        self.registry = registry
        self.capacity = capacity
        self.pristine = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        self.ready = OrderedDict()
        self.lock = threading.Lock()

    def _build(self, adapter, strength):
        merged = dict(self.pristine)
        for name, (up, down, alpha) in self.registry[adapter].items():
            gain = strength * alpha / down.shape[0]
            merged[name] = self.pristine[name] + gain * (up @ down)
        return merged

    def weights_for(self, adapter, strength):
        if adapter in self.ready:
            self.ready.move_to_end(adapter)
            return self.ready[adapter]
        state = self._build(adapter, strength)
        self.ready[adapter] = state
        while len(self.ready) > self.capacity:
            self.ready.popitem(last=False)
        return state

    def run(self, job):
        with self.lock, torch.inference_mode():
            self.model.load_state_dict(self.weights_for(job.adapter, job.strength))
            return self.model.generate(job.prompt)


blender: Blender = None


@app.post("/generate")
def generate(job: Job):
    return {"text": blender.run(job)}


@app.get("/adapters")
def adapters():
    return sorted(blender.registry)
