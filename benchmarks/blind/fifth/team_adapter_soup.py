# wrong in lines 28 and 31: each adapter's own alpha / r is used as its mixing weight although add_weighted_adapter multiplies by the stored scaling itself
import argparse
import pathlib

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def discover(root):
    return sorted(p.parent for p in pathlib.Path(root).glob("*/adapter_config.json"))


def load_all(base, folders):
    first, *rest = folders
    model = PeftModel.from_pretrained(base, str(first), adapter_name=first.name)
    for folder in rest:
        model.load_adapter(str(folder), adapter_name=folder.name)
    return model, [f.name for f in folders]


def trained_gain(cfg):
    return cfg.lora_alpha / (cfg.r ** 0.5 if cfg.use_rslora else cfg.r)


def sum_of(model, names, target):
    """One adapter whose update is the sum of the updates of the given ones."""
    weights = [trained_gain(model.peft_config[n]) for n in names]
    model.add_weighted_adapter(
        adapters=names,
        weights=weights,
        adapter_name=target,
        combination_type="cat",
    )
    model.set_adapter(target)
    return weights


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("root")
    ap.add_argument("--name", default="team")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()

    base = AutoModelForCausalLM.from_pretrained(args.base, torch_dtype=torch.bfloat16)
    folders = discover(args.root)
    if len(folders) < 2:
        raise SystemExit("need at least two adapters")
    model, names = load_all(base, folders)
    for name, w in zip(names, sum_of(model, names, args.name)):
        print(f"{name:30s} {w:.4f}")
    model.save_pretrained(args.out, selected_adapters=[args.name])
    AutoTokenizer.from_pretrained(args.base).save_pretrained(args.out)


if __name__ == "__main__":
    main()
