# wrong in line 34: the layers exist already with the old scaling, changing the config afterwards does not reach them, but the saved config claims the new alpha
"""Supervised fine-tuning with PEFT, with an optional stronger second phase."""
import argparse
import logging

import torch
from peft import LoraConfig, PeftModel, get_peft_model

logger = logging.getLogger("sft")


def build(model, rank, alpha, targets) -> PeftModel:
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, bias="none")
    return get_peft_model(model, config)


def run_phase(model, batches, lr):
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=lr)
    total = 0.0
    for inputs, targets in batches:
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        opt.step()
        opt.zero_grad()
        total += loss.item()
    return total / max(1, len(batches))


def train(model, batches, args):
    peft_model = build(model, args.rank, args.alpha, args.targets)
    logger.info("phase 1: loss %.4f", run_phase(peft_model, batches, args.lr))
    if args.second_alpha is not None:
        peft_model.peft_config["default"].lora_alpha = args.second_alpha
        logger.info("phase 2: loss %.4f", run_phase(peft_model, batches, args.lr / 10))
    peft_model.save_pretrained(args.output)
    return peft_model


def arguments(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--alpha", type=int, default=16)
    p.add_argument("--second-alpha", type=int, default=None, help="alpha to train with in phase 2 and to save")
    p.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"])
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--output", default="out")
    return p.parse_args(argv)
