# wrong in line 42: on resume the rank and targets come from the checkpoint, alpha still from the command line default
"""torchrun --nproc_per_node 8 train.py --model ... --out runs/a [--resume]"""
import argparse
import logging
import os

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
from transformers import AutoModelForCausalLM

import ckpt
from lora import inject, lora_state

log = logging.getLogger("train")


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--tokens", required=True, help=".pt file of packed token blocks")
    p.add_argument("--out", required=True)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--alpha", type=float, default=16.0)
    p.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"])
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--save_every", type=int, default=200)
    p.add_argument("--lr", type=float, default=1e-4)
    return p.parse_args()


def prepare(model, args):
    """Returns (first step, meta) after putting the adapters into the model."""
    path = ckpt.latest(args.out) if args.resume else None
    if path is None:
        meta = {"rank": args.rank, "alpha": args.alpha, "targets": args.targets}
        inject(model, args.targets, args.rank, args.alpha)
        return 0, meta
    state, meta = ckpt.load(path)
    n = inject(model, meta["targets"], meta["rank"], args.alpha)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    log.info("resumed %d layers from %s (rank %d)", n, path, meta["rank"])
    return meta.pop("step"), meta


def gather(model):
    cfg = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, cfg):
        return lora_state(model)


def main():
    logging.basicConfig(level=logging.INFO)
    args = get_args()
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))

    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    first, meta = prepare(model, args)
    model = FSDP(model, use_orig_params=True, device_id=torch.cuda.current_device())
    optim = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.lr)

    blocks = torch.load(args.tokens)
    for step in range(first, args.steps):
        ids = blocks[(step * dist.get_world_size() + dist.get_rank()) % len(blocks)][None].cuda()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        model.clip_grad_norm_(1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        if (step + 1) % args.save_every == 0:
            ckpt.save(args.out, step + 1, gather(model), meta)


if __name__ == "__main__":
    main()
