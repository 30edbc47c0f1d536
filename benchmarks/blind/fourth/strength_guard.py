# wrong in line 23: the saved scaling is the layer's own dict, not a copy, so after the block "restoring" it changes nothing
"""Temporary adapter strengths for A/B evaluation of PEFT models."""
import argparse
import contextlib
import json
import logging
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer

log = logging.getLogger("guard")


@contextlib.contextmanager
def at_strength(model, strength, adapter="default"):
    """Run a block with one adapter at `strength` times its trained scale."""
    saved = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and adapter in module.scaling:
            saved[name] = module.scaling
            module.scaling[adapter] = module.scaling[adapter] * strength
    if not saved:
        raise KeyError(adapter)
    try:
        yield model
    finally:
        modules = dict(model.named_modules())
        for name, scaling in saved.items():
            modules[name].scaling = scaling


@torch.no_grad()
def perplexity(model, tokenizer, texts, device, max_len=512):
    total, count = 0.0, 0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_len).input_ids.to(device)
        if ids.shape[1] < 2:
            continue
        loss = model(input_ids=ids, labels=ids).loss
        total += loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    return float(torch.tensor(total / max(1, count)).exp())


def compare(model, tokenizer, texts, strengths, device):
    rows = []
    for strength in strengths:
        with at_strength(model, strength):
            value = perplexity(model, tokenizer, texts, device)
        rows.append({"strength": strength, "ppl": value})
        log.info("strength %.2f: ppl %.3f", strength, value)
    with model.disable_adapter():
        rows.append({"strength": "base", "ppl": perplexity(model, tokenizer, texts, device)})
    return rows


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", required=True)
    ap.add_argument("--adapter", required=True)
    ap.add_argument("--texts", type=Path, required=True)
    ap.add_argument("--strengths", type=float, nargs="+", default=[0.25, 0.5, 0.75, 1.0, 1.25])
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = ap.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForCausalLM.from_pretrained(args.base)
    model = PeftModel.from_pretrained(model, args.adapter).to(args.device).eval()
    texts = [line for line in args.texts.read_text().splitlines() if line.strip()]
    print(json.dumps(compare(model, tokenizer, texts, args.strengths, args.device), indent=1))


if __name__ == "__main__":
    main()
