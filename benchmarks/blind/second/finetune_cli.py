# wrong in line 25: --lora-alpha is parsed but never given to LoraConfig, which then uses 8
import argparse

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="Qwen/Qwen2.5-0.5B")
    p.add_argument("--data", required=True)
    p.add_argument("--lora-rank", type=int, default=32)
    p.add_argument("--lora-alpha", type=int, default=64)
    p.add_argument("--lora-dropout", type=float, default=0.05)
    p.add_argument("--epochs", type=float, default=3)
    p.add_argument("--output", default="out")
    return p.parse_args()


def main():
    args = parse()
    tok = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model)
    config = LoraConfig(r=args.lora_rank, lora_dropout=args.lora_dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    model.print_trainable_parameters()

    def encode(row):
        ids = tok(row["text"], truncation=True, max_length=1024)
        ids["labels"] = list(ids["input_ids"])
        return ids

    data = load_dataset("json", data_files=args.data, split="train").map(encode)
    targs = TrainingArguments(args.output, num_train_epochs=args.epochs, per_device_train_batch_size=1)
    Trainer(model=model, args=targs, train_dataset=data).train()
    model.save_pretrained(args.output)


if __name__ == "__main__":
    main()
