# wrong in line 28: the rank is configurable but lora_alpha is not set, so the library default 8 is used for every rank
from dataclasses import dataclass, field

import torch
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq
from transformers import HfArgumentParser, Trainer, TrainingArguments


@dataclass
class ModelArgs:
    model_id: str = "Qwen/Qwen2.5-1.5B"
    rank: int = field(default=32, metadata={"help": "adapter rank"})
    dropout: float = 0.05
    targets: str = "q_proj,k_proj,v_proj,o_proj"


@dataclass
class DataArgs:
    dataset: str = "tatsu-lab/alpaca"
    max_len: int = 1024


def build(margs: ModelArgs):
    tok = AutoTokenizer.from_pretrained(margs.model_id)
    model = AutoModelForCausalLM.from_pretrained(margs.model_id, torch_dtype=torch.bfloat16)
    cfg = LoraConfig(
        r=margs.rank,
        lora_dropout=margs.dropout,
        target_modules=margs.targets.split(","),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return tok, get_peft_model(model, cfg)


def main():
    margs, dargs, targs = HfArgumentParser((ModelArgs, DataArgs, TrainingArguments)).parse_args_into_dataclasses()
    tok, model = build(margs)
    model.print_trainable_parameters()

    def encode(row):
        text = row["instruction"] + "\n" + row["output"] + tok.eos_token
        ids = tok(text, truncation=True, max_length=dargs.max_len)
        ids["labels"] = ids["input_ids"].copy()
        return ids

    data = load_dataset(dargs.dataset, split="train")
    data = data.map(encode, remove_columns=data.column_names)
    collator = DataCollatorForSeq2Seq(tok, pad_to_multiple_of=8)
    trainer = Trainer(model=model, args=targs, train_dataset=data, data_collator=collator)
    trainer.train()
    model.save_pretrained(targs.output_dir)
    tok.save_pretrained(targs.output_dir)


if __name__ == "__main__":
    main()
