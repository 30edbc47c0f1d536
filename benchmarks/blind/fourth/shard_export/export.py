# wrong in line 51: the alpha is looked up at the top level under a name meta.py never writes (it is adapter.alpha), so the fallback to the rank always wins
"""Collect the per-rank shards of a finished run into one PEFT adapter folder."""
import argparse
import json
import logging
import re
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file

import meta as run_meta

log = logging.getLogger("export")
KEY = re.compile(r"^(?:module\.)?(?P<path>.+)\.(?P<part>lora_A|lora_B)\.default\.weight$")


def load_shards(folder: Path, world: int):
    pieces = defaultdict(list)
    for rank in range(world):
        shard = torch.load(folder / f"model_world_{world}_rank_{rank}.pt", map_location="cpu", weights_only=True)
        for key, tensor in shard.items():
            if KEY.match(key):
                pieces[key].append(tensor)
    return {key: torch.cat(parts, dim=0) for key, parts in pieces.items()}


def rename(state):
    out = {}
    for key, tensor in state.items():
        m = KEY.match(key)
        out[f"base_model.model.{m['path']}.{m['part']}.weight"] = tensor.to(torch.bfloat16).contiguous()
    return out


def infer_rank(state):
    ranks = {t.shape[0] for k, t in state.items() if k.endswith("lora_A.weight")}
    if len(ranks) != 1:
        raise SystemExit(f"expected one rank, found {sorted(ranks)}")
    return ranks.pop()


def peft_config(info, rank):
    adapter = info.get("adapter", {})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": info["base"],
        "r": rank,
        "lora_alpha": info.get("lora_alpha", rank),
        "lora_dropout": adapter.get("dropout", 0.0),
        "target_modules": adapter["targets"],
        "bias": "none",
        "inference_mode": True,
    }


def main():
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()

    info = run_meta.read(args.run)
    state = rename(load_shards(args.run, info["world_size"]))
    rank = infer_rank(state)
    config = peft_config(info, rank)

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(state, args.out / "adapter_model.safetensors", metadata={"format": "pt"})
    (args.out / "adapter_config.json").write_text(json.dumps(config, indent=2))
    log.info("%d tensors, r=%d, alpha=%s -> %s", len(state), rank, config["lora_alpha"], args.out)


if __name__ == "__main__":
    main()
