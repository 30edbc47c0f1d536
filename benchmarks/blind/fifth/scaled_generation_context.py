# silent: every scaling dict of the PEFT layers is copied on entry and put back on exit
import argparse
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer


@contextmanager
def adapter_strength(model, name, strength):
    saved = []
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and name in layer.scaling:
            saved.append((layer, layer.scaling[name]))
            layer.scaling[name] = layer.scaling[name] * strength
    try:
        yield model
    finally:
        for layer, value in saved:
            layer.scaling[name] = value


@torch.inference_mode()
def answer(model, tok, prompt, max_new_tokens):
    batch = tok(prompt, return_tensors="pt").to(model.device)
    out = model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
    return tok.decode(out[0, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("adapter")
    ap.add_argument("--prompt", default="Summarise the plot of Hamlet.")
    ap.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5])
    ap.add_argument("--tokens", type=int, default=96)
    args = ap.parse_args()

    tok = AutoTokenizer.from_pretrained(args.base)
    base = AutoModelForCausalLM.from_pretrained(args.base, device_map="auto", torch_dtype="auto")
    model = PeftModel.from_pretrained(base, args.adapter, adapter_name="tuned").eval()

    for s in args.strengths:
        with adapter_strength(model, "tuned", s):
            print(f"--- {s}")
            print(answer(model, tok, args.prompt, args.tokens))


if __name__ == "__main__":
    main()
