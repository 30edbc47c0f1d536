# silent: rank and alpha are both fixed constants of this experiment, no rank can be chosen without the alpha
from functools import partial

import torch
from datasets import load_dataset
from peft import LoraConfig, TaskType, get_peft_model
from sklearn.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

RANK = 8
ALPHA = 16
BASE = "roberta-base"


def metrics(pred):
    guess = pred.predictions.argmax(-1)
    return {"f1": f1_score(pred.label_ids, guess, average="macro")}


def tokenize(tok, rows):
    return tok(rows["text"], truncation=True, max_length=256)


def make_model(n_labels):
    model = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=n_labels)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.1,
        target_modules=["query", "value"],
    )
    return get_peft_model(model, config)


def main(out="probe", lr=3e-4, epochs=3):
    tok = AutoTokenizer.from_pretrained(BASE)
    data = load_dataset("ag_news")
    data = data.map(partial(tokenize, tok), batched=True, remove_columns=["text"])
    trainer = Trainer(
        model=make_model(4),
        args=TrainingArguments(out, learning_rate=lr, num_train_epochs=epochs, bf16=torch.cuda.is_available()),
        train_dataset=data["train"],
        eval_dataset=data["test"],
        data_collator=DataCollatorWithPadding(tok),
        compute_metrics=metrics,
    )
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model(out)


if __name__ == "__main__":
    main()
