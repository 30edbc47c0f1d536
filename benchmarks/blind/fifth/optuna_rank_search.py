# silent: alpha is derived from the suggested rank, every trial trains at the same scale
import argparse
import gc

import optuna
import torch
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

BASE = "microsoft/deberta-v3-small"
ALPHA_PER_RANK = 2


def data(tok, limit):
    ds = load_dataset("glue", "cola")

    def encode(rows):
        return tok(rows["sentence"], truncation=True, max_length=64, padding="max_length")

    ds = ds.map(encode, batched=True).remove_columns(["sentence", "idx"])
    return ds["train"].select(range(limit)), ds["validation"]


def objective(trial, train, dev, epochs):
    rank = trial.suggest_categorical("rank", [2, 4, 8, 16, 32])
    lr = trial.suggest_float("lr", 5e-5, 1e-3, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.2)

    model = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=2)
    model = get_peft_model(
        model,
        LoraConfig(
            task_type="SEQ_CLS",
            r=rank,
            lora_alpha=ALPHA_PER_RANK * rank,
            lora_dropout=dropout,
            target_modules=["query_proj", "value_proj"],
        ),
    )
    args = TrainingArguments(
        f"trial-{trial.number}",
        learning_rate=lr,
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        save_strategy="no",
        report_to=[],
    )
    trainer = Trainer(model=model, args=args, train_dataset=train, eval_dataset=dev)
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    del trainer, model
    gc.collect()
    torch.cuda.empty_cache()
    return loss


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--trials", type=int, default=30)
    ap.add_argument("--epochs", type=int, default=2)
    ap.add_argument("--limit", type=int, default=4000)
    ns = ap.parse_args()
    train, dev = data(AutoTokenizer.from_pretrained(BASE), ns.limit)
    study = optuna.create_study(direction="minimize")
    study.optimize(lambda t: objective(t, train, dev, ns.epochs), n_trials=ns.trials)
    print(study.best_params)
