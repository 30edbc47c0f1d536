# wrong in lines 18 and 19: the adapter is merged into the base and the same folder is attached on top again, its delta counts twice
import argparse

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def tokens(path, tok, length):
    ids = tok(open(path, encoding="utf-8").read(), return_tensors="pt").input_ids[0]
    usable = ids[: ids.numel() // length * length]
    return usable.view(-1, length)


def stage_two_model(base_name, first_stage, dtype):
    """continue from the first stage: start from its weights and go on training its factors"""
    base = AutoModelForCausalLM.from_pretrained(base_name, torch_dtype=dtype)
    merged = PeftModel.from_pretrained(base, first_stage).merge_and_unload()
    model = PeftModel.from_pretrained(merged, first_stage, is_trainable=True)
    model.print_trainable_parameters()
    return model


def batches(rows, size, epochs):
    for _ in range(epochs):
        for idx in torch.randperm(rows.shape[0]).split(size):
            yield rows[idx]


def train(model, rows, args):
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=args.lr)
    model.train()
    for step, ids in enumerate(batches(rows, args.batch, args.epochs)):
        ids = ids.to(model.device)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if step % 20 == 0:
            print(step, round(loss.item(), 4))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("base")
    p.add_argument("first_stage")
    p.add_argument("text")
    p.add_argument("out")
    p.add_argument("--lr", type=float, default=5e-5)
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--length", type=int, default=512)
    args = p.parse_args()
    tok = AutoTokenizer.from_pretrained(args.base)
    model = stage_two_model(args.base, args.first_stage, torch.bfloat16)
    train(model, tokens(args.text, tok, args.length), args)
    model.save_pretrained(args.out)


if __name__ == "__main__":
    main()
