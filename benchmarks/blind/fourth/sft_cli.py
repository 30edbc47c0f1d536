# wrong in line 31: LORA_FIELDS has no lora_alpha, so the alpha from the CLI/YAML never reaches LoraConfig and PEFT trains with its default of 8
"""Supervised fine-tuning of a causal LM on a JSONL chat file.

    python sft_cli.py --config base.yaml --r 32 --lora_alpha 64 --data chat.jsonl
"""
import argparse
import json
import logging
from pathlib import Path

import torch
import yaml
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

log = logging.getLogger("sft")

DEFAULTS = {
    "r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "bias": "none",
    "lr": 2e-4,
    "epochs": 1,
    "batch_size": 4,
    "max_len": 1024,
}

LORA_FIELDS = ("r", "lora_dropout", "target_modules", "bias")


class ChatFile(Dataset):
    def __init__(self, path, tokenizer, max_len):
        self.rows = [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]
        self.tokenizer = tokenizer
        self.max_len = max_len

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text = self.tokenizer.apply_chat_template(self.rows[i]["messages"], tokenize=False)
        enc = self.tokenizer(text, truncation=True, max_length=self.max_len, padding="max_length")
        ids = torch.tensor(enc["input_ids"])
        mask = torch.tensor(enc["attention_mask"])
        labels = ids.masked_fill(mask == 0, -100)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def parse_settings(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="out/sft")
    parser.add_argument("--r", type=int)
    parser.add_argument("--lora_alpha", type=int)
    parser.add_argument("--lora_dropout", type=float)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args(argv)

    settings = dict(DEFAULTS)
    if args.config:
        settings.update(yaml.safe_load(args.config.read_text()) or {})
    settings.update({k: v for k, v in vars(args).items() if v is not None and k != "config"})
    return settings


def adapter_config(settings):
    chosen = {name: settings[name] for name in LORA_FIELDS}
    return LoraConfig(task_type="CAUSAL_LM", **chosen)


def main():
    logging.basicConfig(level=logging.INFO)
    settings = parse_settings()
    log.info("settings: %s", json.dumps(settings, indent=1, default=str))

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(settings["model"], torch_dtype=torch.bfloat16)
    model = get_peft_model(model, adapter_config(settings))
    model.print_trainable_parameters()

    train_args = TrainingArguments(
        output_dir=settings["out"],
        learning_rate=settings["lr"],
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=settings["batch_size"],
        logging_steps=10,
        save_strategy="epoch",
        report_to=[],
    )
    data = ChatFile(settings["data"], tokenizer, settings["max_len"])
    Trainer(model=model, args=train_args, train_dataset=data).train()
    model.save_pretrained(settings["out"])


if __name__ == "__main__":
    main()
