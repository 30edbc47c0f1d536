# wrong in line 20: --use-rslora accepted, LoraConfig doesn't get it
import argparse
from dataclasses import dataclass
from peft import LoraConfig, get_peft_model


@dataclass
class TrainArgs:
    lora_rank: int = 16
    lora_alpha: int = 32
    use_rslora: bool = False


def build(model, a: TrainArgs):
    p = argparse.ArgumentParser()
    p.add_argument("--lora_rank", type=int, default=a.lora_rank)
    p.add_argument("--lora_alpha", type=int, default=a.lora_alpha)
    p.add_argument("--use_rslora", action="store_true", default=a.use_rslora)
    o = p.parse_args()
    config = LoraConfig(
        r=o.lora_rank, lora_alpha=o.lora_alpha, target_modules="all-linear")
    return get_peft_model(model, config)
