# silent: the SVD factors reproduce tuned - base as they are, so r == lora_alpha (scale 1) is the right config for them
"""Extract a LoRA adapter from a fully fine-tuned model by SVD of the weight difference."""
import argparse
import json
import logging
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

log = logging.getLogger("extract")


@torch.no_grad()
def factors(delta, rank):
    u, s, vh = torch.svd_lowrank(delta, q=min(rank + 8, *delta.shape), niter=4)
    u, s, vh = u[:, :rank], s[:rank], vh.t()[:rank]
    if s.numel() < rank:
        pad = rank - s.numel()
        u = torch.nn.functional.pad(u, (0, pad))
        vh = torch.nn.functional.pad(vh, (0, 0, 0, pad))
        s = torch.nn.functional.pad(s, (0, pad))
    return vh, u * s


def collect(base, tuned, targets):
    tuned_modules = dict(tuned.named_modules())
    for path, module in base.named_modules():
        if isinstance(module, torch.nn.Linear) and path.rsplit(".", 1)[-1] in targets:
            yield path, tuned_modules[path].weight.float() - module.weight.float()


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("tuned")
    ap.add_argument("out", type=Path)
    ap.add_argument("--rank", type=int, default=64)
    ap.add_argument("--targets", nargs="+", default=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"])
    ap.add_argument("--device", default="cpu")
    args = ap.parse_args()

    load = lambda name: AutoModelForCausalLM.from_pretrained(name, torch_dtype=torch.bfloat16)
    base, tuned = load(args.base), load(args.tuned)
    tensors, kept = {}, []
    for path, delta in collect(base, tuned, set(args.targets)):
        delta = delta.to(args.device)
        a, b = factors(delta, args.rank)
        error = (delta - b @ a).norm() / delta.norm().clamp_min(1e-12)
        kept.append(1 - error.item() ** 2)
        key = f"base_model.model.{path}"
        tensors[f"{key}.lora_A.weight"] = a.to(torch.bfloat16).cpu().contiguous()
        tensors[f"{key}.lora_B.weight"] = b.to(torch.bfloat16).cpu().contiguous()
    log.info("%d modules, kept energy %.3f on average", len(kept), sum(kept) / len(kept))

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": args.base,
        "r": args.rank,
        "lora_alpha": args.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(args.targets),
    }
    (args.out / "adapter_config.json").write_text(json.dumps(config, indent=2))


if __name__ == "__main__":
    main()
