# silent: every change starts from the scaling read once at start-up, so repeated requests do not compound and 1.0 is the trained strength
"""HTTP front of a PEFT model with a per-request adapter strength."""
import argparse
import logging
import threading

import torch
from fastapi import FastAPI, HTTPException
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from pydantic import BaseModel, Field
from transformers import AutoModelForCausalLM, AutoTokenizer

log = logging.getLogger("api")


class Query(BaseModel):
    prompt: str
    strength: float = Field(1.0, ge=0.0, le=2.0)
    max_new_tokens: int = Field(128, ge=1, le=1024)


class StrengthControl:
    def __init__(self, model, adapter="default"):
        self.adapter = adapter
        self.layers = [m for m in model.modules() if isinstance(m, LoraLayer) and adapter in m.scaling]
        self.trained = [m.scaling[adapter] for m in self.layers]
        self.current = 1.0

    def set(self, strength):
        if strength == self.current:
            return
        for layer, trained in zip(self.layers, self.trained):
            layer.scaling[self.adapter] = trained * strength
        log.debug("strength %.2f -> %.2f", self.current, strength)
        self.current = strength


class Service:
    def __init__(self, base, adapter, device):
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, torch_dtype="auto")
        self.model = PeftModel.from_pretrained(model, adapter).to(device).eval()
        self.control = StrengthControl(self.model)
        self.device = device
        self.lock = threading.Lock()

    def answer(self, query: Query):
        ids = self.tokenizer(query.prompt, return_tensors="pt").to(self.device)
        if ids.input_ids.shape[1] > 4096:
            raise HTTPException(413, "prompt too long")
        with self.lock, torch.inference_mode():
            self.control.set(query.strength)
            out = self.model.generate(**ids, max_new_tokens=query.max_new_tokens)
        return self.tokenizer.decode(out[0, ids.input_ids.shape[1]:], skip_special_tokens=True)


def create_app(service: Service):
    app = FastAPI()

    @app.post("/generate")
    def generate(query: Query):
        return {"text": service.answer(query), "strength": query.strength}

    @app.get("/health")
    def health():
        return {"layers": len(service.control.layers)}

    return app


if __name__ == "__main__":
    import uvicorn

    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("adapter")
    ap.add_argument("--device", default="cuda")
    ap.add_argument("--port", type=int, default=8000)
    ns = ap.parse_args()
    uvicorn.run(create_app(Service(ns.base, ns.adapter, ns.device)), port=ns.port)
