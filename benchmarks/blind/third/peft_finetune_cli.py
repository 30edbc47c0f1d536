# wrong in line 24: --lora_alpha is parsed but lora_alpha is given args.lora_r
import argparse

from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--base", default="meta-llama/Llama-2-7b-hf")
    p.add_argument("--output", default="out")
    p.add_argument("--lora_r", type=int, default=8)
    p.add_argument("--lora_alpha", type=int, default=32)
    p.add_argument("--lora_dropout", type=float, default=0.05)
    p.add_argument("--epochs", type=int, default=1)
    return p.parse_args()


def build_model(args):
    model = AutoModelForCausalLM.from_pretrained(args.base, torch_dtype="auto")
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=args.lora_r,
        lora_alpha=args.lora_r,
        lora_dropout=args.lora_dropout,
        target_modules=["q_proj", "v_proj"],
        bias="none",
    )
    return get_peft_model(model, config)


def main(dataset):
    args = parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = build_model(args)
    model.print_trainable_parameters()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(args.output, num_train_epochs=args.epochs),
        train_dataset=dataset,
    )
    trainer.train()
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
