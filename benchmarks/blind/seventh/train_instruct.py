# wrong in line 27: --lora_alpha is parsed and logged but not given to LoraConfig, the library's default is trained instead
"""Instruction tuning of a causal language model."""
import argparse
import logging

from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("instruct")


def parse_args(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--output_dir", default="checkpoints")
    p.add_argument("--lora_r", type=int, default=64)
    p.add_argument("--lora_alpha", type=int, default=128)
    p.add_argument("--lora_dropout", type=float, default=0.05)
    p.add_argument("--target_modules", nargs="*", default=["q_proj", "k_proj", "v_proj", "o_proj"])
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=2e-4)
    return p.parse_args(argv)


def lora_config(args):
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=args.lora_r,
        lora_dropout=args.lora_dropout,
        target_modules=args.target_modules,
        bias="none",
    )


def main(argv=None):
    args = parse_args(argv)
    logger.info("rank %d, alpha %d, dropout %.2f", args.lora_r, args.lora_alpha, args.lora_dropout)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(args.model), lora_config(args))
    model.print_trainable_parameters()
    from data import load_instructions

    trainer = Trainer(
        model=model,
        train_dataset=load_instructions(tokenizer),
        args=TrainingArguments(output_dir=args.output_dir, num_train_epochs=args.epochs, learning_rate=args.lr),
    )
    trainer.train()
    model.save_pretrained(args.output_dir)


if __name__ == "__main__":
    main()
