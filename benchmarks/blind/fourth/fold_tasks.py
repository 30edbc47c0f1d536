# wrong in line 30: the new config is meant to have scale 1 (lora_alpha == r) but inherits use_rslora from the first task, which makes it sqrt(r)
"""Fold the task adapters of a continual-learning run into one adapter."""
import argparse
import dataclasses
import logging
import math

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForSequenceClassification

log = logging.getLogger("fold")


def task_delta(layer: LoraLayer, task: str):
    a = layer.lora_A[task].weight.float()
    b = layer.lora_B[task].weight.float()
    return layer.scaling[task] * (b @ a)


def truncate(delta, rank):
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    root = s[:rank].sqrt()
    return root[:, None] * vh[:rank], u[:, :rank] * root


def folded_config(model: PeftModel, tasks, rank) -> LoraConfig:
    first = model.peft_config[tasks[0]]
    return dataclasses.replace(
        first,
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        rank_pattern={},
        alpha_pattern={},
    )


@torch.no_grad()
def fold(model: PeftModel, tasks, weights, rank, name="folded"):
    config = folded_config(model, tasks, rank)
    model.add_adapter(name, config)
    kept = []
    for path, layer in model.named_modules():
        if not isinstance(layer, LoraLayer) or name not in layer.lora_A:
            continue
        total = 0.0
        for task, weight in zip(tasks, weights):
            if task in layer.lora_A:
                total = total + weight * task_delta(layer, task)
        a, b = truncate(total, rank)
        layer.lora_A[name].weight.copy_(a)
        layer.lora_B[name].weight.copy_(b)
        norm = total.norm()
        kept.append(((b @ a).norm() / norm).item() if norm > 0 else 1.0)
    log.info("%d layers, kept norm %.3f (min %.3f)", len(kept), sum(kept) / len(kept), min(kept))
    for task in tasks:
        model.delete_adapter(task)
    model.set_adapter(name)
    return model


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("tasks", nargs="+", help="adapter folders")
    ap.add_argument("--out", required=True)
    ap.add_argument("--rank", type=int, default=32)
    ap.add_argument("--mean", action="store_true", help="average instead of sum")
    args = ap.parse_args()

    model = AutoModelForSequenceClassification.from_pretrained(args.base)
    names = [f"task{i}" for i in range(len(args.tasks))]
    model = PeftModel.from_pretrained(model, args.tasks[0], adapter_name=names[0])
    for folder, name in zip(args.tasks[1:], names[1:]):
        model.load_adapter(folder, adapter_name=name)
    weight = 1.0 / len(names) if args.mean else 1.0
    assert math.isfinite(weight)
    fold(model, names, [weight] * len(names), args.rank)
    model.save_pretrained(args.out, selected_adapters=["folded"])


if __name__ == "__main__":
    main()
