# wrong in line 33: lora_alpha is changed in the config after the layers exist, they train with the old scaling and the saved file says the new one
import argparse
import math

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator


def pick_rank(n_samples):
    """bigger data, bigger rank"""
    return int(2 ** min(6, max(2, round(math.log10(max(n_samples, 10))) + 1)))


class Lines(torch.utils.data.Dataset):
    def __init__(self, path, tok, length):
        with open(path, encoding="utf-8") as fh:
            text = [line.strip() for line in fh if line.strip()]
        self.enc = tok(text, truncation=True, padding="max_length", max_length=length, return_tensors="pt")

    def __len__(self):
        return self.enc["input_ids"].shape[0]

    def __getitem__(self, i):
        ids = self.enc["input_ids"][i]
        mask = self.enc["attention_mask"][i]
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def wrap(model, rank, alpha):
    config = LoraConfig(r=rank, target_modules="all-linear", lora_dropout=0.05, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    model.peft_config["default"].lora_alpha = alpha
    model.print_trainable_parameters()
    return model


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("text")
    ap.add_argument("--alpha", type=int, default=64)
    ap.add_argument("--length", type=int, default=256)
    ap.add_argument("--out", default="adapter")
    ns = ap.parse_args()
    tok = AutoTokenizer.from_pretrained(ns.model)
    tok.pad_token = tok.pad_token or tok.eos_token
    data = Lines(ns.text, tok, ns.length)
    model = wrap(AutoModelForCausalLM.from_pretrained(ns.model), pick_rank(len(data)), ns.alpha)
    args = TrainingArguments(ns.out, per_device_train_batch_size=4, num_train_epochs=1, learning_rate=2e-4,
                             report_to=[])
    Trainer(model, args, train_dataset=data, data_collator=default_data_collator).train()
    model.save_pretrained(ns.out)


if __name__ == "__main__":
    main()
